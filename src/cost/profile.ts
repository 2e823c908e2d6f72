/**
 * A model as planners ask for it: what each pipeline stage of each component holds, computes and keeps for its backward pass, for any
 * number of stages and any cut. Answers are kept, because a search asks for the same stage under many layouts.
 */
import type { ModelDescription } from "../bridge/Family.ts"
import type { Form } from "../mimo/routing.ts"
import type { Stage } from "../model/Parameter.ts"
import { STANDARD_COMPONENT } from "../parallel/Layout.ts"
import { LANGUAGE_COMPONENT } from "../parallel/LayoutRules.ts"
import { expertDataParallelSize, type ModuleParallelism } from "../parallel/ModuleParallelism.ts"
import { type PipelineStages, pipelineStages } from "../parallel/PipelineSplit.ts"
import { blockActivations, type Recompute, towerActivations } from "./activations.ts"
import { backwardOf, modelWork, predictedLayers, type ModuleFlops } from "./flops.ts"
import { type Frozen, trainingRole } from "./freezing.ts"
import { modelWeights, type ModelWeights, type WeightGroup } from "./weights.ts"
import type { Workload } from "./Workload.ts"

/** Elements on one rank. */
export interface StageWeights {
  readonly dense: number
  readonly experts: number
  /** Of them those that train. */
  readonly denseTrained: number
  readonly expertsTrained: number
}

/** Operations of one stage, over all its ranks. */
export interface StageWork {
  readonly forward: number
  readonly backward: number
}

type Cut = Pick<ModuleParallelism, "tp" | "pp" | "ep" | "etp" | "pipeline">

const cutKey = ({ ep, etp, pipeline, pp, tp }: Cut, ...more: ReadonlyArray<unknown>): string => [tp, pp, ep, etp, pipeline ? JSON.stringify(pipeline) : "", ...more].join()

const remembered = <A extends ReadonlyArray<unknown>, B>(key: (...args: A) => string, make: (...args: A) => B) => {
  const known = new Map<string, B>()
  return (...args: A): B => {
    const id = key(...args)
    const found = known.get(id)
    if (found !== undefined) return found
    const made = make(...args)
    known.set(id, made)
    return made
  }
}

/** A model as planners ask for it: sums by stage for any cut. Built once per model and form. */
export interface ModelProfile {
  readonly description: ModelDescription
  readonly form: Form
  readonly frozen: Frozen
  readonly weights: ModelWeights
  /** Some weights are those of routed experts. */
  readonly hasExperts: boolean
  /** Components in the order of the description; `model` alone in the standard form. */
  readonly components: ReadonlyArray<string>
  /** Layers that are dealt out to the stages of a component. */
  readonly layers: (component: string) => number
  /** @throws UsageError where the layers do not fit the stages */
  readonly stageWeights: (component: string, cut: Cut) => ReadonlyArray<StageWeights>
  /** Of a workload, by stage. Answers are kept per workload object. */
  readonly stageWork: (component: string, cut: Cut, w: Workload) => ReadonlyArray<StageWork>
  /** Bytes that one rank keeps of a workload until its backward pass, by stage. */
  readonly stageActivations: (component: string, cut: Cut, w: Workload, options: { readonly sequenceParallel: boolean; readonly recompute: Recompute }) => ReadonlyArray<number>
  /** Rows and columns that tensor parallelism cuts, and those that expert tensor parallelism cuts. */
  readonly extents: (component: string) => { readonly dense: ReadonlyArray<number>; readonly experts: ReadonlyArray<number> }
}

/** Where a part of a component sits: towers of a standard model as a whole on the first stage. */
const stageIndex = ({ embedding, layers, mtp, norm, output }: PipelineStages, stage: Stage, tower: boolean, predicted: boolean): number => {
  if (tower || stage === "first") return embedding
  if (predicted) return mtp
  if (typeof stage === "object") return layers[stage.layer] ?? output
  return stage === "norm" ? norm : output
}

const isTower = (module: WeightGroup["module"]): boolean => module === "vision" || module === "audio" || module === "projector"

/** Sum up a model for planners. `frozen`: parts that do not train (see frozenParts). */
export const modelProfile = (description: ModelDescription, form: Form, frozen: Frozen = new Set()): ModelProfile => {
  const weights = modelWeights(description, form)
  const byComponent = Map.groupBy(weights.groups, (g) => g.component)
  const components = form === "standard" ? [STANDARD_COMPONENT] : description.components.map((c) => c.name).filter((name) => byComponent.has(name))
  const holdsLanguage = (component: string): boolean => component === STANDARD_COMPONENT || component === LANGUAGE_COMPONENT
  const towerInside = (component: string, module: WeightGroup["module"]): boolean => form === "standard" && component === STANDARD_COMPONENT && isTower(module)
  const predicted = form === "standard" ? predictedLayers(description) : 0

  const layersOf = new Map(components.map((component) => {
    const staged = (byComponent.get(component) ?? []).find((g) => typeof g.stage === "object" && !towerInside(component, g.module) && g.part !== "multi-token prediction")
    return [component, typeof staged?.stage === "object" ? staged.stage.of : 0]
  }))
  const layers = (component: string): number => layersOf.get(component) ?? 0

  const split = (component: string, { pipeline, pp }: Cut): PipelineStages =>
    layers(component) === 0
      ? { layers: [], embedding: 0, output: pp - 1, norm: pp - 1, mtp: pp - 1 }
      : pipelineStages(layers(component), pp, pipeline, holdsLanguage(component) ? predicted : 0)
  const stagesOf = remembered((component: string, cut: Cut) => cutKey(cut, component), split)

  const stageWeights = remembered((component: string, cut: Cut) => cutKey(cut, component), (component: string, cut: Cut): ReadonlyArray<StageWeights> => {
    const { ep, etp, pp, tp } = cut
    const stages = stagesOf(component, cut)
    const sums = Array.from({ length: pp }, () => ({ dense: 0, experts: 0, denseTrained: 0, expertsTrained: 0 }))
    const add = (stage: number, routed: boolean, elements: number, trained: boolean): void => {
      const sum = sums[stage]!
      if (routed) sum.experts += elements
      else sum.dense += elements
      if (!trained) return
      if (routed) sum.expertsTrained += elements
      else sum.denseTrained += elements
    }
    for (const group of byComponent.get(component) ?? []) {
      const cutBy = group.routed ? etp : tp
      // A rank with fewer groups than ranks keeps a whole group.
      const repeated = [...group.shared].reduce((sum, [groups, elements]) => sum + (groups < cutBy ? elements * (cutBy / groups - 1) : 0), 0)
      const elements = ((group.sharded + repeated) / cutBy + group.replicated) / (group.routed ? ep : 1)
      const trained = trainingRole(group, frozen) === "trained" && !(group.part === "router" && frozen.has("router"))
      add(stageIndex(stages, group.stage, towerInside(component, group.module), group.part === "multi-token prediction"), group.routed, elements, trained)
    }
    const { vocabulary } = weights
    // Tied matrices are one, but the first and the last stage each hold it.
    if (vocabulary?.tied && holdsLanguage(component) && pp > 1) add(stages.output, false, (vocabulary.rows * vocabulary.width) / tp, !frozen.has(LANGUAGE_COMPONENT))
    return sums
  })

  /** Workloads are compared as objects: a search has one or two. */
  const numbers = new Map<Workload, number>()
  const numberOf = (w: Workload): number => {
    const known = numbers.get(w) ?? numbers.size
    numbers.set(w, known)
    return known
  }
  const workOf = remembered((w: Workload) => String(numberOf(w)), (w: Workload): ReadonlyMap<string, ReadonlyArray<ModuleFlops>> =>
    Map.groupBy(modelWork(description, w, { form, frozen, weights }), (work) => work.component))
  const stageWork = remembered((component: string, { pipeline, pp }: Cut, w: Workload) => [component, pp, pipeline ? JSON.stringify(pipeline) : "", numberOf(w)].join(),
    (component: string, cut: Cut, w: Workload): ReadonlyArray<StageWork> => {
      const stages = stagesOf(component, cut)
      const sums = Array.from({ length: cut.pp }, () => ({ forward: 0, backward: 0 }))
      for (const work of workOf(w).get(component) ?? []) {
        const sum = sums[stageIndex(stages, work.stage, towerInside(component, work.module), work.part === "multi-token prediction")]!
        sum.forward += work.forward
        sum.backward += backwardOf(work)
      }
      return sums
    })

  const stageActivations: ModelProfile["stageActivations"] = remembered(
    (component, cut, w, { recompute, sequenceParallel }) => cutKey(cut, component, recompute, sequenceParallel, numberOf(w)),
    (component, cut, w, options) => {
      const stages = stagesOf(component, cut)
      const sums = Array.from({ length: cut.pp }, () => ({ kept: 0, largest: 0 }))
      const add = (stage: number, { kept, whole }: { readonly kept: number; readonly whole: number }): void => {
        const sum = sums[stage]!
        sum.kept += kept
        sum.largest = Math.max(sum.largest, whole)
      }
      for (const module of description.modules) {
        if (module.kind === "vision" || module.kind === "audio") {
          if (form === "mimo" && module.component !== component) continue
          const each = towerActivations(module, w, cut.tp)
          for (let layer = 0; layer < module.sizes.layers; layer++) {
            const stage = form === "standard" ? stages.embedding : stageIndex(stages, { layer, of: module.sizes.layers }, false, false)
            add(stage, { kept: each, whole: 0 })
          }
        } else if (module.kind === "language" && holdsLanguage(component)) {
          for (const { block, layer = 0, mtp } of module.blocks) {
            if (mtp && form === "mimo") continue
            add(stageIndex(stages, { layer, of: module.config.num_layers }, false, mtp === true), blockActivations(block, w.tokens, { ...options, tp: cut.tp, etp: cut.etp }))
          }
          const { vocabulary } = weights
          // What the embedding hands on, and the last norm.
          if (vocabulary) add(stages.embedding, { kept: (2 * w.tokens * vocabulary.width) / (options.sequenceParallel ? cut.tp : 1), whole: 0 })
        }
      }
      return sums.map(({ kept, largest }) => kept + largest)
    }
  )

  const extents = remembered((component: string) => component, (component: string) => {
    const groups = byComponent.get(component) ?? []
    const all = (routed: boolean) => [...new Set(groups.filter((g) => g.routed === routed).flatMap((g) => [...g.extents]))]
    return { dense: all(false), experts: all(true) }
  })

  const hasExperts = weights.groups.some((g) => g.routed)
  return { description, form, frozen, weights, hasExperts, components, layers, stageWeights, stageWork, stageActivations, extents }
}

/** Ranks that share the optimizer states of a dense weight, and of an expert's. */
export const optimizerRanks = (p: ModuleParallelism): { readonly dense: number; readonly experts: number } =>
  ({ dense: p.dp * p.cp, experts: Math.max(1, expertDataParallelSize(p)) })
