/**
 * What a model demands of its layout: the checks of the trainer's configuration classes and modules at construction, as one
 * table. They continue the numbers of LayoutRules.ts, which knows layouts without models.
 *
 * Every configuration of a component is checked with its own sizes: that of the language model, of a tower, of layers that differ.
 */
import { quote, UsageError } from "../errors.ts"
import type { TransformerConfig } from "../model/TransformerConfig.ts"
import type { Broken } from "./LayoutRules.ts"
import type { LayoutComponent, ModuleParallelism } from "./ModuleParallelism.ts"
import { parsePipelineLayout } from "./PipelineLayout.ts"

/** What the trainer builds from one component of a layout. */
export interface BuiltModule {
  readonly component: LayoutComponent
  /** The configurations that its parameters were made from. */
  readonly configs: ReadonlyArray<TransformerConfig>
  /** A tower: its configuration has no fields for an uneven pipeline. */
  readonly isTower: boolean
  readonly form: "mimo" | "standard"
  /** The class that builds it, for messages, and what it cannot do. */
  readonly builder: string
  readonly refuses: ReadonlyArray<string>
  /** Its layers are spelled out in `hybrid_layer_pattern`. */
  readonly hybridPattern: boolean
  readonly seqLength?: number
}

type Parallelism = ModuleParallelism

/** Says what is wrong, or undefined. `c` is one configuration of the module. */
interface ModelRule {
  readonly number: number
  /** The trainer's condition, by its own names. */
  readonly trainer: string
  readonly broken: (c: TransformerConfig, p: Parallelism, m: BuiltModule) => string | undefined
}

interface ModuleRule extends Omit<ModelRule, "broken"> {
  readonly broken: (p: Parallelism, m: BuiltModule) => string | undefined
}

const divides = (what: string, size: number | null | undefined, by: string, ranks: number): string | undefined =>
  !size || size % ranks === 0 ? undefined : `${what} ${size} is not divisible by ${by}=${ranks}`

const hasGatedDeltaNet = (c: TransformerConfig): boolean => c.linear_attention_freq?.includes(1) ?? false

export const CONFIG_RULES: ReadonlyArray<ModelRule> = [
  {
    number: 11,
    trainer: "num_attention_heads must be a multiple of tensor_model_parallel_size",
    broken: (c, { tp }) => divides("num_attention_heads", c.num_attention_heads, "tp", tp)
  },
  {
    number: 12,
    trainer: "num_query_groups must be a multiple or divisor of tensor_model_parallel_size",
    broken: ({ num_query_groups: groups }, { tp }) =>
      groups % tp === 0 || tp % groups === 0 ? undefined : `num_query_groups ${groups} is neither a multiple nor a divisor of tp=${tp}`
  },
  {
    number: 13,
    trainer: "linear_num_key_heads and linear_num_value_heads must be multiples of tensor_model_parallel_size × context_parallel_size",
    broken: (c, { cp, tp }) => !hasGatedDeltaNet(c) ? undefined
      : divides("linear_num_key_heads", c.linear_num_key_heads, "tp·cp", tp * cp) ?? divides("linear_num_value_heads", c.linear_num_value_heads, "tp·cp", tp * cp)
  },
  {
    number: 14,
    trainer: "nheads of a Mamba mixer must be divisible by tp × cp, ngroups by tp",
    broken: (c, { cp, tp }) => divides("mamba_num_heads", c.mamba_num_heads, "tp·cp", tp * cp) ?? divides("mamba_num_groups", c.mamba_num_groups, "tp", tp)
  },
  {
    number: 15,
    trainer: "num_moe_experts must be divisible by expert_model_parallel_size",
    broken: (c, { ep }) => divides("num_moe_experts", c.num_moe_experts, "ep", ep)
  },
  {
    number: 16,
    trainer: "bias in MoE is only supported when expert_tensor_parallel_size is 1",
    broken: (c, { etp }) => c.num_moe_experts && c.add_bias_linear && etp > 1 ? `experts with biases (add_bias_linear) under etp=${etp}` : undefined
  },
  {
    number: 17,
    trainer: "this class has tensor_model_parallel_size ≤ num_query_groups",
    broken: (c, { tp }, { refuses }) => refuses.includes("more-tp-than-groups") && tp > c.num_query_groups ? `tp=${tp} is more than num_query_groups ${c.num_query_groups}` : undefined
  }
]

export const MODULE_RULES: ReadonlyArray<ModuleRule> = [
  {
    number: 18,
    trainer: "num_moe_experts must be set to use expert parallelism",
    broken: ({ ep }, { configs }) => ep > 1 && !configs.some((c) => c.num_moe_experts) ? `ep=${ep}, but there are no experts` : undefined
  },
  {
    number: 19,
    trainer: "seq_length must be divisible by 2 × context_parallel_size",
    broken: ({ cp }, { seqLength }) => cp > 1 ? divides("seq_length", seqLength, "2·cp", 2 * cp) : undefined
  },
  {
    number: 20,
    trainer: "this class supports one pipeline stage only",
    broken: ({ pp }, { refuses }) => refuses.includes("pipeline") && pp > 1 ? `pp=${pp}` : undefined
  },
  {
    number: 21,
    trainer: "this class does not support context parallelism",
    broken: ({ cp }, { refuses }) => refuses.includes("context") && cp > 1 ? `cp=${cp}` : undefined
  },
  {
    number: 22,
    trainer: "a tower's configuration has no uneven pipeline; only the language model's has",
    broken: ({ pipeline }, { isTower }) => pipeline && isTower ? "an uneven pipeline" : undefined
  },
  {
    number: 23,
    trainer: "hybrid models are split by hybrid_layer_pattern: of the uneven pipelines only outer stages with their own number of layers",
    broken: ({ pipeline }, { hybridPattern }) =>
      hybridPattern && (pipeline?.layout !== undefined || pipeline?.embeddingAsStage || pipeline?.lossAsStage) ? "a layout, or the embedding or the loss as stages" : undefined
  },
  {
    number: 24,
    trainer: "MegatronMIMO has no virtual pipeline stages",
    broken: ({ pipeline, pp }, { form }) => {
      const stages = form === "mimo" && pipeline?.layout !== undefined ? parsePipelineLayout(pipeline.layout).length : pp
      return stages > pp ? `a layout of ${stages} stages with pp=${pp}` : undefined
    }
  }
]

/** The first rule that a component breaks, of those of its configurations and then of its module. */
export const brokenModuleRule = (module: BuiltModule): Broken | undefined => {
  const { component: { name, parallelism }, configs } = module
  const broken = ({ number, trainer }: ModelRule | ModuleRule, problem: string): Broken =>
    ({ rule: number, trainer, problem: `component ${quote(name)}: ${problem}`, hint: `rule ${number} of the trainer's ${quote(module.builder)}: ${trainer}` })
  for (const rule of CONFIG_RULES) {
    for (const config of configs) {
      const problem = rule.broken(config, parallelism, module)
      if (problem !== undefined) return broken(rule, problem)
    }
  }
  for (const rule of MODULE_RULES) {
    const problem = rule.broken(parallelism, module)
    if (problem !== undefined) return broken(rule, problem)
  }
  return undefined
}

/**
 * Checks a component against what the trainer builds from it; the first broken rule throws. Pipelines have their own checks
 * (PipelineSplit.ts), and rows that are cut have one each (Placement.ts).
 *
 * @throws UsageError with the numbers and the trainer's condition
 */
export const validateModule = (module: BuiltModule): void => {
  const broken = brokenModuleRule(module)
  if (broken !== undefined) throw new UsageError({ code: "usage/layout", problem: broken.problem, hint: broken.hint! })
}
