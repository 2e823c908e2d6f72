/**
 * What training demands of a layout besides what its configuration classes check: batches that divide, tensors that divide, room in a
 * sequence, in a node, in memory. Many of them fail only after minutes or hours. They continue the numbers of ModelRules.ts.
 */
import { quote, UsageError } from "../errors.ts"
import { type Broken, LANGUAGE_COMPONENT } from "./LayoutRules.ts"
import { type Layout, type LayoutComponent, rankCount } from "./ModuleParallelism.ts"
import { pipelineStages } from "./PipelineSplit.ts"

/** What is trained, on what, as far as a rule asks. */
export interface TrainingFacts {
  readonly layout: Layout
  readonly form: "mimo" | "standard"
  /** Samples of an optimizer step, of a microbatch (under MegatronMIMO over all data-parallel ranks). */
  readonly globalBatch: number
  readonly microBatch: number
  /** Tokens. */
  readonly sequenceLength: number
  readonly sequenceParallel: boolean
  readonly hasExperts: boolean
  /** Images of a sample: absent where samples have none. */
  readonly images?: {
    /** Of every sample, where all have equally many; else of the smallest and the largest. */
    readonly least: number
    readonly most: number
    /** All samples have equally many visual tokens. */
    readonly uniform: boolean
    /** Visual tokens of the largest sample. */
    readonly mostTokens: number
    /** Tokens of text that a sample needs at least. */
    readonly text: number
  }
  /** Layers that are dealt out to the stages of a component, 0 where none are. */
  readonly layers: (component: string) => number
  /** Rows and columns that are cut. */
  readonly extents: (component: string) => { readonly dense: ReadonlyArray<number>; readonly experts: ReadonlyArray<number> }
  readonly nodes: number
  readonly gpusPerNode: number
  /** GPUs that one switch joins. */
  readonly nvlinkDomain: number
  /** Starts equally many processes on every node. */
  readonly launcher: "srun" | "torchrun"
  /** What the fullest rank lacks, if anything; asked last. */
  readonly tooFull: () => string | undefined
}

interface TrainingRule {
  readonly number: number
  /** The trainer's own words, or its condition. */
  readonly trainer: string
  readonly mimo?: true
  readonly broken: (facts: TrainingFacts) => string | undefined
}

type Problem = string | undefined

const first = (facts: TrainingFacts, problem: (c: LayoutComponent) => Problem): Problem => {
  for (const component of facts.layout.components) {
    const found = problem(component)
    if (found !== undefined) return found
  }
  return undefined
}

/** Data-parallel ranks of the component that holds the language model. */
const languageDp = ({ layout: { components } }: TrainingFacts): number =>
  (components.find(({ name }) => name === LANGUAGE_COMPONENT) ?? components[0]!).parallelism.dp

const encoders = ({ form, layout }: TrainingFacts): ReadonlyArray<LayoutComponent> =>
  form === "mimo" ? layout.components.filter(({ name }) => name !== LANGUAGE_COMPONENT) : []

const firstEncoder = (facts: TrainingFacts, problem: (c: LayoutComponent) => Problem): Problem => {
  for (const component of encoders(facts)) {
    const found = problem(component)
    if (found !== undefined) return found
  }
  return undefined
}

const undivided = (what: string, size: number, by: string, ranks: number): Problem => (size % ranks === 0 ? undefined : `${what} ${size} is not divisible by ${by}=${ranks}`)

export const TRAINING_RULES: ReadonlyArray<TrainingRule> = [
  {
    number: 25,
    trainer: "currently supports CP=1 only",
    mimo: true,
    broken: (f) => first(f, ({ name, parallelism: { cp } }) => (cp === 1 ? undefined : `component ${quote(name)}: cp=${cp}; the configuration accepts it, the communicator between components fails`))
  },
  {
    number: 26,
    trainer: "num_layers should be divisible by pipeline_model_parallel_size",
    broken: (f) => first(f, ({ name, parallelism: { pipeline, pp } }) => {
      const layers = f.layers(name)
      if (layers === 0) return pp === 1 ? undefined : `component ${quote(name)}: pp=${pp}, but it has no layers to deal out`
      // The usual case of a search, without a list of all layers.
      if (pipeline === undefined && layers % pp === 0) return undefined
      try {
        pipelineStages(layers, pp, pipeline)
        return undefined
      } catch (error) {
        if (!(error instanceof UsageError)) throw error
        return `component ${quote(name)}: ${error.summary}`
      }
    })
  },
  {
    number: 27,
    trainer: "global_batch_size must be divisible by micro_batch_size",
    broken: ({ form, globalBatch, layout, microBatch }) =>
      form === "mimo" ? undivided("the global batch", globalBatch, "micro batch", microBatch)
        : undivided("the global batch", globalBatch, "micro batch · dp", microBatch * layout.components[0]!.parallelism.dp)
  },
  {
    // With rule 27 the global batch divides as well.
    number: 28,
    trainer: "micro_batch_size must be divisible by the data parallel size of every module",
    mimo: true,
    broken: (f) => first(f, ({ name, parallelism: { dp } }) => undivided(`component ${quote(name)}: the micro batch`, f.microBatch, "dp", dp))
  },
  {
    number: 29,
    trainer: "is not divisible by tensor_model_parallel_size",
    broken: (f) => first(f, ({ name, parallelism: { tp } }) => {
      const extent = f.extents(name).dense.find((e) => e % tp !== 0)
      return extent === undefined ? undefined : undivided(`component ${quote(name)}: a width of`, extent, "tp", tp)
    })
  },
  {
    number: 30,
    trainer: "is not divisible by expert_tensor_parallel_size",
    broken: (f) => first(f, ({ name, parallelism: { etp } }) => {
      const extent = f.extents(name).experts.find((e) => e % etp !== 0)
      return extent === undefined ? undefined : undivided(`component ${quote(name)}: an expert's width of`, extent, "etp", etp)
    })
  },
  {
    number: 31,
    trainer: "sequence_parallel needs seq_length divisible by tensor_model_parallel_size",
    broken: (f) => f.sequenceParallel ? first(f, ({ name, parallelism: { tp } }) => (encoders(f).some((e) => e.name === name) ? undefined : undivided("the sequence length", f.sequenceLength, "tp", tp))) : undefined
  },
  {
    number: 32,
    trainer: "When using expert parallelism and tensor parallelism, sequence parallelism must be used",
    broken: (f) => f.hasExperts && !f.sequenceParallel ? first(f, ({ name, parallelism: { ep, tp } }) =>
      (tp > 1 && !encoders(f).some((e) => e.name === name) ? `component ${quote(name)}: experts with tp=${tp}${ep > 1 ? `, ep=${ep}` : ""} without sequence parallelism` : undefined)) : undefined
  },
  {
    number: 33,
    trainer: "variable visual token counts need encoder dp <= language dp",
    mimo: true,
    broken: (f) => f.images === undefined || f.images.uniform ? undefined
      : firstEncoder(f, ({ name, parallelism: { dp } }) => (dp <= languageDp(f) ? undefined : `component ${quote(name)}: dp=${dp} is more than the language model's ${languageDp(f)}, and samples differ in visual tokens`))
  },
  {
    number: 34,
    trainer: "the number of images of a microbatch must be a multiple of the encoder's dp",
    mimo: true,
    broken: ({ images, microBatch, ...f }) => images === undefined ? undefined : firstEncoder({ images, microBatch, ...f }, ({ name, parallelism: { dp } }) => {
      if (dp === 1) return undefined
      if (images.least !== images.most) return `component ${quote(name)}: dp=${dp}, but samples have ${images.least} to ${images.most} images: images are dealt out by number, not by sample, so that they reach another sample's ranks`
      return undivided(`component ${quote(name)}: the ${images.most} images of each sample times the micro batch`, images.most * microBatch, "dp", dp)
    })
  },
  {
    number: 35,
    trainer: "visual tokens would be truncated",
    broken: ({ images, sequenceLength }) => images === undefined || images.mostTokens + images.text <= sequenceLength ? undefined
      : `the largest sample has ${images.mostTokens} visual tokens and ${images.text} of text, more than the sequence length ${sequenceLength}`
  },
  {
    number: 36,
    trainer: "ranks exceed the allocated GPUs",
    broken: ({ gpusPerNode, layout, nodes }) => layout.worldSize <= nodes * gpusPerNode ? undefined
      : `${layout.worldSize} ranks, but ${nodes} nodes of ${gpusPerNode} GPUs have ${nodes * gpusPerNode}`
  },
  {
    number: 37,
    trainer: "torchrun needs the same number of processes on every node",
    broken: ({ gpusPerNode, launcher, layout: { worldSize } }) => launcher !== "torchrun" || worldSize <= gpusPerNode || worldSize % gpusPerNode === 0 ? undefined
      : `${worldSize} ranks do not fill nodes of ${gpusPerNode} GPUs`
  },
  {
    number: 38,
    trainer: "a tensor-parallel group lies within one NVLink domain",
    broken: (f) => first(f, ({ name, parallelism: { rankOffset, tp } }) =>
      tp > f.nvlinkDomain ? `component ${quote(name)}: tp=${tp} is more than the ${f.nvlinkDomain} GPUs of an NVLink domain`
        : undivided(`component ${quote(name)}: rank_offset`, rankOffset, "tp", tp))
  },
  { number: 39, trainer: "CUDA out of memory", broken: ({ tooFull }) => tooFull() }
]

/** The first rule that training under a layout would break. */
export const brokenTrainingRule = (facts: TrainingFacts): Broken | undefined => {
  for (const { broken, mimo, number, trainer } of TRAINING_RULES) {
    if (mimo && facts.form !== "mimo") continue
    const problem = broken(facts)
    if (problem !== undefined) return { rule: number, trainer, problem }
  }
  return undefined
}

/** Ranks of a layout on each node, filled one after the other. */
export const ranksByNode = (layout: Layout, gpusPerNode: number): ReadonlyArray<number> =>
  Array.from({ length: Math.ceil(layout.worldSize / gpusPerNode) }, (_, node) => Math.min(gpusPerNode, layout.worldSize - node * gpusPerNode))

/** Ranks of all components together. */
export const worldOf = (components: ReadonlyArray<LayoutComponent>): number =>
  components.reduce((most, { parallelism: p }) => Math.max(most, p.rankOffset + rankCount(p)), 0)
