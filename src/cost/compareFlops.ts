/** Our count beside the trainer's, kind by kind, with the reason for each difference. */
import type { ModelDescription } from "../bridge/Family.ts"
import { type LoggedKind, loggedTextFlops, loggedVisionFlops } from "./loggedFlops.ts"
import { predictedLayers, type ModuleFlops } from "./flops.ts"
import { PASSES } from "./freezing.ts"
import type { ModelPart } from "./weights.ts"
import type { Workload } from "./Workload.ts"

export interface ComparedRow {
  readonly part: LoggedKind | "audio encoder" | "projector" | "other"
  /** Ours with three passes, as if everything trained. */
  readonly counted: number
  /** The trainer's. */
  readonly logged: number
  /** Why they differ; absent where they do not. */
  readonly reason?: string
}

/** Two counts of one workload, in operations, each as if everything trained. */
export interface ComparedFlops {
  readonly rows: ReadonlyArray<ComparedRow>
  readonly counted: number
  readonly logged: number
  /** What frozen parts save, which the trainer counts all the same. */
  readonly frozen: number
}

const LANGUAGE_PARTS: Readonly<Partial<Record<ModelPart, LoggedKind>>> = {
  attention: "attention", "latent attention": "attention", "linear attention": "linear attention", mamba: "mamba", mlp: "mlp", experts: "experts",
  "shared experts": "experts", router: "experts", "multi-token prediction": "multi-token prediction", vocabulary: "vocabulary"
}

const kindOf = ({ module, part }: ModuleFlops): ComparedRow["part"] => {
  if (module === "vision") return "vision tower"
  if (module === "audio") return "audio encoder"
  if (module === "projector") return "projector"
  return LANGUAGE_PARTS[part] ?? "other"
}

const REASONS: Readonly<Record<ComparedRow["part"], string>> = {
  attention: "the trainer counts the norms of latents as one multiplication each, full windows where its fields do not name them, and no gates of hybrid models",
  "linear attention": "the trainer takes keys to be as wide as values, and knows Gated DeltaNet alone",
  mamba: "the trainer takes the inner width to be twice the hidden one, and leaves the convolution out",
  mlp: "the trainer's fields give every layer one width",
  experts: "the trainer leaves out routers (6·hidden·experts per token and layer) and the gates of shared experts",
  "multi-token prediction": "the trainer counts three norms and leaves out the router; of hybrid models it counts the logits alone",
  vocabulary: "the trainer counts the vocabulary padded to a multiple of its divisor × tp",
  "vision tower": "the trainer leaves out the patch embedding, takes MLPs to have two matrices and attention to be full",
  "audio encoder": "the trainer does not count audio",
  projector: "the trainer does not count projectors",
  other: "the trainer does not know these modules"
}

const number = (value: unknown, otherwise = 0): number => (typeof value === "number" ? value : otherwise)

const loggedVision = ({ modules, provider }: ModelDescription, w: Workload): number => {
  const vision = modules.find((m) => m.kind === "vision")
  if (vision === undefined || vision.config === undefined || w.patches === 0) return 0
  const { ffn, hidden, layers, merge, output } = vision.sizes
  const section = provider.fields["vision_config"] as { readonly fields?: Readonly<Record<string, unknown>> } | undefined
  const deepstack = section?.fields?.["deepstack_visual_indexes"]
  return loggedVisionFlops({
    depth: layers, hidden_size: hidden, intermediate_size: ffn, spatial_merge_size: merge, out_hidden_size: output,
    deepstack: Array.isArray(deepstack) ? deepstack.length : 0
  }, w)
}

/**
 * Both counts. Of a MegatronMIMO run the trainer logs no FLOPs at all; what it would log of the same model is compared, without
 * multi-token prediction.
 */
export const compareFlops = (description: ModelDescription, work: ReadonlyArray<ModuleFlops>, w: Workload, { form, tp = 1 }: { readonly form: "mimo" | "standard"; readonly tp?: number }): ComparedFlops => {
  const counted = new Map<ComparedRow["part"], number>()
  let frozen = 0
  for (const one of work) {
    const kind = kindOf(one)
    counted.set(kind, (counted.get(kind) ?? 0) + 3 * one.forward)
    frozen += (3 - PASSES[one.role]) * one.forward
  }
  const { fields } = description.provider
  const logged = new Map<ComparedRow["part"], number>(loggedTextFlops({
    ...fields,
    mtp_num_layers: form === "mimo" ? 0 : number(fields["mtp_num_layers"], predictedLayers(description))
  }, w, { tp }))
  logged.set("vision tower", loggedVision(description, w))
  const rows = [...new Set([...counted.keys(), ...logged.keys()])].map((part): ComparedRow => {
    const both = { part, counted: counted.get(part) ?? 0, logged: logged.get(part) ?? 0 }
    return both.counted === both.logged ? both : { ...both, reason: REASONS[part] }
  }).filter((row) => row.counted > 0 || row.logged > 0)
  const sum = (of: (r: ComparedRow) => number): number => rows.reduce((total, row) => total + of(row), 0)
  return { rows, counted: sum((r) => r.counted), logged: sum((r) => r.logged), frozen }
}
