/** What a conversion does, step by step, for `--log-level debug`. */
import { Effect } from "effect"
import { quote } from "../errors.ts"
import type { ConversionReport } from "../plan/Report.ts"
import type { StoredWeights } from "../space/StoredWeights.ts"

/** What was opened. */
export const tellSource = (path: string, architecture: string, weights: StoredWeights | undefined) =>
  Effect.logDebug(`resolve: ${quote(path)}: ${quote(architecture)}, ${weights ? `${weights.tensors.size} tensors in ${weights.files.length} files` : "no weights"}`)

/** What follows from it. */
export const tellPlan = ({ components, family, files, form, sourceTensors, targetTensors }: ConversionReport, rows?: number) =>
  Effect.gen(function*() {
    yield* Effect.logDebug(`resolve: family ${family}${rows === undefined ? "" : `, ${rows} mapping rows`}, ${form}`)
    for (const { layout, name, tensors } of components) {
      const sizes = layout ? `tp=${layout.tp} pp=${layout.pp} dp=${layout.dp} cp=${layout.cp} ep=${layout.ep} etp=${layout.etp} on ranks ${layout.ranks}, ` : ""
      yield* Effect.logDebug(`layout: ${quote(name)}: ${sizes}${tensors} tensors`)
    }
    yield* Effect.logDebug(`plan: ${sourceTensors} tensors become ${targetTensors}, in ${files.length} files of ${files.reduce((n, f) => n + f.bytes, 0)} bytes`)
  })
