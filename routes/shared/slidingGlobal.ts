/** Text models of sliding and global layers with per-layer scalars: config fields, model, rows and provider fields. */
import { z } from "zod"
import type { HfHeaders } from "../../src/bridge/Family.ts"
import { filledOf, gatedMlpOf, packedExpertOf, queriesAloneOf, valuesAreKeysOf } from "../../src/bridge/kinds.ts"
import type { Row } from "../../src/bridge/Mapping.ts"
import { float, type PythonValue } from "../../src/runconfig/Provider.ts"
import { rows, type Table } from "../../src/bridge/Registry.ts"
import type { ModuleSource } from "../../src/model/ModelModule.ts"
import { denseSlidingGlobal, moeSlidingGlobal, type SlidingGlobal } from "../../src/model/slidingGlobal.ts"
import { NO_PLACE, refuseBiases } from "./biases.ts"
import { aroundNorms, attention, denseMlp, qkNorm } from "./blocks.ts"
import { count, many, size } from "./config.ts"
import { dualRope, dualRopeFields } from "./dualRope.ts"
import { required } from "./moe.ts"
import { denseFields, frameRows, type TextPrefixes, transformerOf } from "./llama.ts"

export const slidingGlobalText = z.looseObject({
  ...denseFields,
  ...dualRopeFields,
  num_key_value_heads: size.default(4),
  head_dim: size.default(256),
  global_head_dim: size.default(512),
  num_global_key_value_heads: size.nullish(),
  per_layer_config: z.record(z.string(), z.looseObject({ head_dim: size.nullish(), num_key_value_heads: size.nullish() })).nullish(),
  layer_types: z.array(z.enum(["sliding_attention", "full_attention"])).nullish(),
  sliding_window: size.default(512),
  attention_k_eq_v: z.boolean().default(false),
  num_kv_shared_layers: many.default(0),
  use_double_wide_mlp: z.boolean().default(false),
  hidden_size_per_layer_input: count.nullable().default(256),
  vocab_size_per_layer_input: size.default(262_144),
  enable_moe_block: z.boolean().default(false),
  num_experts: many.nullish(),
  top_k_experts: size.nullish(),
  moe_intermediate_size: size.nullish(),
  final_logit_softcapping: z.number().nullish(),
  tie_word_embeddings: z.boolean().nullish()
})

export type SlidingGlobalText = z.infer<typeof slidingGlobalText>

/** Five sliding layers, then a global one; the last is always global. */
const reachOf = (t: SlidingGlobalText): SlidingGlobal["reach"] =>
  Array.from({ length: t.num_hidden_layers }, (_, i) =>
    i === t.num_hidden_layers - 1 || (t.layer_types ? t.layer_types[i] === "full_attention" : (i + 1) % 6 === 0) ? "global" : "sliding")

export const slidingGlobalModel = (t: SlidingGlobalText): SlidingGlobal => {
  refuseBiases(t, ["attention_bias"], NO_PLACE.normedOutput)
  const reach = reachOf(t)
  // Layer numbers are keys, written with leading zeros.
  const override = Object.entries(t.per_layer_config ?? {}).find(([layer]) => Number(layer) === reach.indexOf("global"))?.[1]
  const moe = t.enable_moe_block
  return {
    c: transformerOf(t, {
      qk_layernorm: moe,
      share_embeddings_and_output_weights: t.tie_word_embeddings ?? true,
      ...(moe
        ? {
          num_moe_experts: required(t.num_experts || null, "num_experts"),
          moe_router_topk: t.top_k_experts ?? undefined,
          moe_ffn_hidden_size: required(t.moe_intermediate_size, "moe_intermediate_size"),
          moe_shared_expert_intermediate_size: t.intermediate_size
        }
        : t.use_double_wide_mlp
        ? { hetereogenous_dist_checkpoint: true }
        : {})
    }),
    reach,
    global: t.per_layer_config
      ? { kv_channels: override?.head_dim ?? t.head_dim, num_query_groups: override?.num_key_value_heads ?? t.num_key_value_heads }
      : {
        kv_channels: t.global_head_dim,
        num_query_groups: (t.attention_k_eq_v ? t.num_global_key_value_heads : undefined) ?? t.num_key_value_heads
      }
  }
}

/** The first layer without keys and values of its own. */
const firstShared = (t: SlidingGlobalText): number => (t.num_kv_shared_layers === 0 ? Infinity : t.num_hidden_layers - t.num_kv_shared_layers)

const perLayerWidth = (t: SlidingGlobalText): number => t.hidden_size_per_layer_input ?? 0

export const slidingGlobalModule = (path: string, t: SlidingGlobalText): ModuleSource => {
  const m = slidingGlobalModel(t)
  return {
    kind: "language",
    path,
    config: m.c,
    build: (s) => {
      if (t.enable_moe_block) return moeSlidingGlobal(s, m)
      denseSlidingGlobal(s, m, {
        perLayer: { vocabulary: t.vocab_size_per_layer_input, width: perLayerWidth(t) },
        ffn: (i) => t.intermediate_size * (t.use_double_wide_mlp && firstShared(t) > 0 && i >= firstShared(t) ? 2 : 1)
      })
    }
  }
}

const denseTable: Table = {
  "layer_scalar": "layer_scalar",
  "input_layernorm.weight": "input_layernorm.weight",
  ...attention,
  ...qkNorm,
  "pre_mlp_layernorm.weight": "pre_feedforward_layernorm.weight",
  ...denseMlp,
  "post_self_attn_layernorm.weight": "post_attention_layernorm.weight",
  "post_mlp_layernorm.weight": "post_feedforward_layernorm.weight",
  "per_layer_input_gate.weight": "per_layer_input_gate.weight",
  "per_layer_projection.weight": "per_layer_projection.weight",
  "post_per_layer_input_norm.weight": "post_per_layer_input_norm.weight"
}

const moeTable = (experts: number): Table => ({
  "layer_scalar": "layer_scalar",
  ...attention,
  ...qkNorm,
  ...aroundNorms,
  "pre_mlp_layernorm.weight": "pre_feedforward_layernorm_2.weight",
  "mlp.router.weight": "router.proj.weight",
  "mlp.router.per_expert_scale": "router.per_expert_scale",
  "mlp.router.scale": "router.scale",
  "mlp.experts.linear_fc1.weight*": packedExpertOf({ experts, transposed: false }, "experts.gate_up_proj"),
  "mlp.experts.linear_fc2.weight*": packedExpertOf({ experts, transposed: false }, "experts.down_proj"),
  "mlp.shared_experts.linear_fc1.weight": gatedMlpOf("mlp.{gate,up}_proj.weight"),
  "mlp.shared_experts.linear_fc2.weight": "mlp.down_proj.weight",
  "mlp.post_moe_layernorm.weight": "post_feedforward_layernorm_2.weight",
  "mlp.post_shared_expert_layernorm.weight": "post_feedforward_layernorm_1.weight",
  "pre_shared_expert_layernorm.weight": "pre_feedforward_layernorm.weight",
  "post_ffn_layernorm.weight": "post_feedforward_layernorm.weight"
})

/** The layers that take keys and values from an earlier one and lack their own: checkpoints may have them all the same. */
export const slidingGlobalLayout = (t: SlidingGlobalText, headers: HfHeaders, model = "model."): ReadonlySet<number> =>
  new Set(Array.from({ length: t.num_hidden_layers }, (_, i) => i).filter((i) => {
    const has = (name: string) => headers.tensor(`${model}layers.${i}.self_attn.${name}.weight`) !== undefined
    return i >= firstShared(t) && !["k_proj", "v_proj", "k_norm"].some(has)
  }))

/** Layers whose values are their keys, or that have neither. */
const exceptions = (t: SlidingGlobalText, queriesOnly: ReadonlySet<number>, megatron: string, model: string): ReadonlyArray<Row> => {
  const { reach } = slidingGlobalModel(t)
  return reach.flatMap((kind, i) => {
    const alone = queriesOnly.has(i)
    const tied = t.attention_k_eq_v && kind === "global"
    const qkv = alone ? (what: string) => queriesAloneOf(`q_proj.${what}`) : tied ? (what: string) => valuesAreKeysOf(`{q,k}_proj.${what}`) : undefined
    return rows(`${megatron}decoder.layers.${i}.self_attention.`, `${model}layers.${i}.self_attn.`, {
      ...(qkv ? { "linear_qkv.weight": qkv("weight"), "linear_qkv.bias": qkv("bias") } : {}),
      // A norm as it is before training.
      ...(alone ? { "k_layernorm.weight": filledOf(1, "q_norm.weight") } : {})
    })
  })
}

export const slidingGlobalRows = (t: SlidingGlobalText, queriesOnly: ReadonlySet<number>, prefixes: TextPrefixes = {}): ReadonlyArray<Row> => {
  const { megatron = "", model = "model." } = prefixes
  return [
    ...exceptions(t, queriesOnly, megatron, model),
    ...frameRows(prefixes),
    ...rows(megatron, model, {
      "per_layer_embedding.weight": "embed_tokens_per_layer.weight",
      "per_layer_model_proj.weight": "per_layer_model_projection.weight",
      "per_layer_proj_norm.weight": "per_layer_projection_norm.weight"
    }),
    ...rows(`${megatron}decoder.layers.*.`, `${model}layers.*.`, t.enable_moe_block ? moeTable(t.num_experts ?? 0) : denseTable)
  ]
}

/** Provider fields beside the common ones; undefined: not for this form. */
export const slidingGlobalFields = (t: SlidingGlobalText): Record<string, PythonValue | undefined> => {
  const { global, reach } = slidingGlobalModel(t)
  const { global: globalBase, local, partial } = dualRope(t)
  const shared = {
    attention_k_eq_v: t.attention_k_eq_v,
    final_logit_softcapping: t.final_logit_softcapping ?? null,
    make_vocab_size_divisible_by: 128
  }
  if (t.enable_moe_block) {
    const first = reach.indexOf("global")
    const run = reach.slice(first).findIndex((kind) => kind !== "global")
    return {
      ...shared,
      global_head_dim: global.kv_channels,
      num_global_key_value_heads: global.num_query_groups,
      global_rotary_percent: partial ?? 0.25,
      interleaved_attn_pattern: [first, run < 0 ? reach.length - first : run],
      rotary_base: [float(local), float(globalBase)],
      softmax_scale: float(1),
      window_size: t.sliding_window
    }
  }
  return {
    ...shared,
    global_kv_channels: global.kv_channels,
    num_global_query_groups: global.num_query_groups,
    full_attention_rope_base: float(globalBase),
    full_attention_rope_partial_factor: partial ?? 0.25,
    sliding_window_rope_base: float(local),
    num_kv_shared_layers: t.num_kv_shared_layers,
    use_double_wide_mlp: t.use_double_wide_mlp,
    per_layer_embed_dim: perLayerWidth(t),
    per_layer_embed_vocab_size: t.vocab_size_per_layer_input,
    rotary_base: undefined,
    window_size: [t.sliding_window - 1, 0],
    window_attn_skip_freq: reach.map((kind) => kind === "sliding")
  }
}
