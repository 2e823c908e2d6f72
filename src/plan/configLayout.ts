/** The layout of a model from its config.json alone: no weights are looked at. */
import type { Family } from "../bridge/Family.ts"
import type { Layout } from "../parallel/Layout.ts"
import { type HfConfig, noHeaders } from "../space/HfSource.ts"
import { formOf, modulesOf } from "./describe.ts"
import { describeModel } from "../space/describeModel.ts"
import type { ImportOptions } from "./ImportOptions.ts"
import { laidOut } from "./layoutChecks.ts"

/**
 * @throws InvalidFile for a config that the family cannot read; UsageError for a layout that is none, or that the trainer would not
 * accept for this model
 */
export const configLayout = (family: Family, config: HfConfig, { form: wanted, layout: resolve }: Pick<ImportOptions, "form" | "layout">): Layout => {
  const description = describeModel(family, config, noHeaders)
  const form = formOf(wanted, description)
  const modules = modulesOf(form, description)
  const layout = resolve(modules.map(({ name }) => name))
  laidOut(modules, description, form, layout)
  return layout
}
