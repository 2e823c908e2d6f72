/**
 * `--component` of an export. The reference needs it to start ranks; here any layout is read, but what is said of a checkpoint is held
 * against what it records.
 */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import { join } from "node:path"
import { RUN_CONFIG } from "../checkpoint/names.ts"
import { atPath } from "../document/decode.ts"
import { quote, UsageError } from "../errors.ts"
import { reading } from "../io/attempt.ts"
import { isMissing } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import type { ComponentSpec, ParallelSizes } from "../parallel/ModuleParallelism.ts"
import { type ComponentLayout, recordedLayout } from "../runconfig/layout.ts"
import { LARGEST_RUN_CONFIG, parseRunConfig } from "../runconfig/RunConfigFile.ts"
import type { ConversionReport } from "../plan/Report.ts"

const recorded = Effect.fnUntraced(function*(directory: string) {
  const store = yield* storeInUse
  const path = join(directory, RUN_CONFIG)
  return yield* reading(async (): Promise<ReadonlyArray<ComponentLayout>> => {
    try {
      const bytes = await readSmall(store, path, path, LARGEST_RUN_CONFIG)
      return recordedLayout(atPath(path, () => parseRunConfig(bytes)))
    } catch (error) {
      if (isMissing(error)) return []
      throw error
    }
  })
})

const KEYS = ["tp", "pp", "cp", "ep", "etp", "dp", "rankOffset"] as const satisfies ReadonlyArray<keyof ParallelSizes>

/** `tp=2, not tp=4` for what was said otherwise than it is recorded. */
const differences = (spec: ComponentSpec, layout: ComponentLayout): string => {
  const off = KEYS.filter((key) => spec[key] !== undefined && spec[key] !== layout[key])
  const shown = (from: Partial<ParallelSizes>) => off.map((key) => `${key === "rankOffset" ? "rank_offset" : key}=${from[key]}`).join(",")
  return off.length === 0 ? "" : `${quote(spec.name)} was written with ${shown(layout)}, not ${shown(spec)}`
}

/**
 * Notes on where a layout that the user states differs from the one that the checkpoint records. UsageError for a component that it does
 * not have.
 */
export const statedLayoutNotes = Effect.fnUntraced(function*({ components, form, source }: ConversionReport, specs: ReadonlyArray<ComponentSpec>) {
  if (specs.length === 0) return []
  if (form === "standard") return ["--component is not needed: this is a standard checkpoint, without components; an export reads any layout"]
  const names = components.map(({ name }) => name)
  const unknown = specs.find(({ name }) => !names.includes(name))
  if (unknown) {
    return yield* new UsageError({
      code: "usage/layout",
      problem: `--component ${quote(unknown.name)}: the checkpoint has no such component`,
      hint: `It has ${names.map(quote).join(", ")}. An export needs no --component: it reads any layout.`
    })
  }
  const layouts = yield* recorded(source)
  const said = specs.flatMap((spec) => {
    const layout = layouts.find(({ component }) => component === spec.name)
    return layout ? [differences(spec, layout)] : []
  }).filter((text) => text !== "")
  return said.length === 0 ? [] : [`--component: ${said.join("; ")}; an export reads any layout`]
})
