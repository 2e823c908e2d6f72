/** Plans of toys, without files. */
import { families } from "../../routes/index.ts"
import type { Checkpoint } from "../../src/space/Checkpoint.ts"
import { moduleStates, sortKeys } from "../../src/space/sortKeys.ts"
import type { DcpMetadata } from "../../src/torch/DcpMetadata.ts"
import type { SourceTensor } from "../../src/conformance/Case.ts"
import type { ExportPlan } from "../../src/plan/ExportDraft.ts"
import type { ExportDraft } from "../../src/plan/ExportDraft.ts"
import { planExport } from "../../src/plan/planExport.ts"
import { StoredArrays } from "../../src/checkpoint/StoredArrays.ts"
import { type ImportPlan, planImport } from "../../src/plan/ImportPlan.ts"
import type { LoadRoute } from "../../src/mimo/loadRoute.ts"
import type { Form } from "../../src/mimo/routing.ts"
import { resolveLayout, standardLayout } from "../../src/parallel/Layout.ts"
import { sourceOf, type Toy } from "./toys.ts"

const OPTIONS = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const

/** The import of a toy, or of other tensors with its config. */
export const importOf = (toy: Toy, form: Form = "standard", tensors: ReadonlyArray<SourceTensor> = toy.tensors, loadRoute: LoadRoute = "hook"): ImportPlan =>
  planImport(families.find(toy.config), sourceOf(toy, tensors), {
    ...OPTIONS,
    form,
    loadRoute,
    layout: (names) => (form === "mimo" ? resolveLayout([], names) : standardLayout({})),
    step: 0
  })

/** The checkpoint that a plan would write, opened; or that one with another index. */
export const opened = ({ checkpoint: { metadata: planned }, report }: ImportPlan, metadata: DcpMetadata = planned): Checkpoint => ({
  directory: "/toy/iter_0000000",
  metadata,
  ...sortKeys("/toy/iter_0000000", metadata, "/toy/iter_0000000/.metadata", new Uint8Array(0)),
  objects: () => moduleStates(metadata),
  form: report.form,
  fileSizes: new Map(),
  notes: []
})

/** A plan whose items have the headers that this program writes. */
export const asWritten = ({ chunks, ...draft }: ExportDraft): ExportPlan => {
  for (const sources of chunks.chosen.values()) for (const source of sources.values()) source.header = 0
  return { ...draft, stored: new StoredArrays(chunks) }
}

/** The export of what an import would write, or of that with another index. */
export const exportOf = (toy: Toy, plan: ImportPlan, metadata?: DcpMetadata): ExportPlan => {
  const source = sourceOf(toy, toy.tensors)
  return asWritten(planExport({ family: families.find(toy.config), config: source, weights: source.weights, checkpoint: opened(plan, metadata) }, OPTIONS))
}
