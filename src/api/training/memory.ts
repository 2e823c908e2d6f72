/** Memory of every rank under a layout: pure arithmetic. */
import { Effect } from "effect"
import type { Recompute } from "../../cost/activations.ts"
import { bridgeMemory, megatronLmMemory } from "../../cost/loggedMemory.ts"
import { fitsIn, layoutMemory, reserveOf, type StageMemory } from "../../cost/memory.ts"
import type { ModelProfile } from "../../cost/profile.ts"
import { parameterCount } from "../../cost/weights.ts"
import { type ConversionError, UsageError } from "../../errors.ts"
import { converting } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import type { Form } from "../../mimo/routing.ts"
import { describeLayout, type Layout, type LayoutRow } from "../../parallel/Layout.ts"
import { type PlanRequest, usualChoice } from "../../planner/plan.ts"
import { imageNotes, mimoNotes, prepareTraining, type TrainingRequest } from "./request.ts"

/** Memory of one stage of one component, in bytes; all its ranks hold equally much. */
export type MemoryRow = StageMemory

/** Memory of every rank of a layout. */
export interface MemoryReport {
  readonly architecture: string
  readonly family: string
  readonly form: Form
  readonly gpu: string
  /** Bytes that a process can allocate, and how many of them are left alone. */
  readonly usable: number
  readonly reserve: number
  readonly layout: ReadonlyArray<LayoutRow>
  readonly microBatch: number
  readonly microBatches: number
  readonly recompute: Recompute
  readonly sequenceParallel: boolean
  readonly parameters: number
  readonly stages: ReadonlyArray<MemoryRow>
  readonly fits: boolean
  /** What the two trainers print of the same model and layout, in bytes; of standard layouts alone. */
  readonly trainers?: { readonly megatronLm: { readonly states: number; readonly activations: number }; readonly bridge: { readonly states: number; readonly activations: number } }
  readonly notes: ReadonlyArray<string>
}

/** Memory of every rank under the layout of `request`: weights, gradients, optimizer, activations in flight, logits. */
export const countMemory = (hfModel: string, request: TrainingRequest & { readonly reference?: boolean } = {}): Effect.Effect<MemoryReport, ConversionError, Disk> =>
  Effect.flatMap(prepareTraining(hfModel, request), ({ form, gpu, layout: make, model, plan, profile }) => converting((): MemoryReport => {
    const layout = make(profile.components)
    const choice = usualChoice(profile, layout, plan)
    const dp = layout.components[0]!.parallelism.dp
    const microBatches = plan.globalBatch / choice.microBatch / (form === "standard" ? dp : 1)
    if (!Number.isInteger(microBatches)) throw new UsageError({ problem: `the global batch ${plan.globalBatch} has no whole number of microbatches of ${choice.microBatch}${form === "standard" ? ` on ${dp} data-parallel ranks` : ""}` })
    const stages = layoutMemory(profile, layout, { ...choice, microBatches, sample: plan.mix.largest })
    const usable = plan.cluster.gpu.usableGiB * 2 ** 30
    const trainers = request.reference && form === "standard" ? printed(profile, layout, choice.microBatch, microBatches, plan) : undefined
    return {
      architecture: model.architecture,
      family: model.family,
      form,
      gpu,
      usable,
      reserve: reserveOf(usable),
      layout: describeLayout(layout),
      microBatch: choice.microBatch,
      microBatches,
      recompute: choice.recompute,
      sequenceParallel: choice.sequenceParallel,
      parameters: parameterCount(profile.weights),
      stages,
      fits: stages.every(({ total }) => fitsIn(total, usable)),
      ...(trainers ? { trainers } : {}),
      notes: [...mimoNotes(form, model), ...imageNotes(model, request), ...(request.reference && form === "mimo" ? ["of a MegatronMIMO model the trainers print no memory"] : []), ...ESTIMATORS(trainers !== undefined)]
    }
  }))

/** What is wrong with the trainers' numbers. */
const ESTIMATORS = (shown: boolean): ReadonlyArray<string> => shown ? [
  "both trainers count latent, linear and gated attention as grouped queries (Megatron-LM knows latent attention), leave out towers, and the logits where there is a pipeline",
  "their activations are those of the first stage under sequence parallelism and selective recomputation; Megatron-LM ignores context parallelism"
] : []

const printed = (profile: ModelProfile, layout: Layout, microBatch: number, microBatches: number, { mix }: PlanRequest): NonNullable<MemoryReport["trainers"]> => {
  const { cp, dp, ep, etp, pp, tp } = layout.components[0]!.parallelism
  const shape = { tp, pp, dp, cp, ep, etp, microBatch, microBatches, sequenceLength: mix.length, distributedOptimizer: true }
  const { fields } = profile.description.provider
  const [lm, bridge] = [megatronLmMemory(fields, shape), bridgeMemory(fields, shape)]
  return { megatronLm: { states: lm.states, activations: lm.activations }, bridge: { states: bridge.states, activations: bridge.activations } }
}
