/** Plans of toys, without files. */
import { families } from "../../routes/index.ts"
import type { Checkpoint } from "../../src/checkpoint/Checkpoint.ts"
import { HF_SOURCE } from "../../src/checkpoint/names.ts"
import type { SourceTensor } from "../../src/conformance/Case.ts"
import type { ExportPlan } from "../../src/plan/ExportDraft.ts"
import type { ExportDraft } from "../../src/plan/ExportDraft.ts"
import { planExport } from "../../src/plan/planExport.ts"
import { StoredArrays } from "../../src/checkpoint/StoredArrays.ts"
import { type ImportPlan, planImport } from "../../src/plan/ImportPlan.ts"
import type { Form } from "../../src/mimo/routing.ts"
import { resolveLayout, standardLayout } from "../../src/parallel/Layout.ts"
import { sourceOf, type Toy } from "./toys.ts"

const OPTIONS = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const

/** The import of a toy, or of other tensors with its config. */
export const importOf = (toy: Toy, form: Form = "standard", tensors: ReadonlyArray<SourceTensor> = toy.tensors): ImportPlan =>
  planImport(families.find(toy.config), sourceOf(toy, tensors), {
    ...OPTIONS,
    form,
    layout: (names) => (form === "mimo" ? resolveLayout([], names) : standardLayout({})),
    step: 0
  })

/** The checkpoint that a plan would write, opened. */
export const opened = ({ checkpoint: { metadata }, report }: ImportPlan): Checkpoint => {
  const isKept = (key: string) => key.startsWith(HF_SOURCE)
  return {
    directory: "/toy/iter_0000000",
    metadata,
    tensors: new Map([...metadata.tensors].filter(([key]) => !isKept(key))),
    objects: () => metadata.objects,
    kept: new Map([...metadata.tensors].filter(([key]) => isKept(key)).map(([key, t]) => [key.slice(HF_SOURCE.length), t])),
    trainingState: [],
    form: report.form,
    wrapped: false,
    fileSizes: new Map(),
    notes: []
  }
}

/** A plan whose items have the headers that this program writes. */
export const asWritten = ({ chunks, ...draft }: ExportDraft): ExportPlan => {
  for (const sources of chunks.chosen.values()) for (const source of sources.values()) source.header = 0
  return { ...draft, stored: new StoredArrays(chunks) }
}

/** The export of what an import would write. */
export const exportOf = (toy: Toy, plan: ImportPlan): ExportPlan => {
  const source = sourceOf(toy, toy.tensors)
  return asWritten(planExport({ family: families.find(toy.config), config: source, weights: source.weights, checkpoint: opened(plan) }, OPTIONS))
}
