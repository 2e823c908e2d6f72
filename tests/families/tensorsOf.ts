/** The tensors of a model that is known by its config.json alone. */
import { families } from "../../routes/index.ts"
import { bind } from "../../src/bridge/Conversion.ts"
import type { SourceTensor } from "../../src/conformance/Case.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { standardModules } from "../../src/mimo/routes.ts"

/** As they follow from the rows of its family, in BF16 and one file. */
export const tensorsOf = (config: unknown): ReadonlyArray<SourceTensor> => {
  const family = families.find(config)
  const { hf } = bind(standardModules(family.describe(family.schema.parse(config), noHeaders)))
  return [...hf.values()].map(({ name, shape }) => ({ name, dtype: "BF16" as const, shape: [...shape], file: "model.safetensors" }))
}
