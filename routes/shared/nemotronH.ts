/**
 * The text model of Nemotron-H and Nemotron 3, which others have inside: layers of one block each by a pattern (Mamba-2,
 * attention, squared-ReLU MLP, experts, possibly at a latent width), optional multi-token prediction.
 */
import { z } from "zod"
import type { Carried, HfHeaders, Vocabulary } from "../../src/bridge/Family.ts"
import type { Row } from "../../src/bridge/Mapping.ts"
import { qkvOf } from "../../src/bridge/kinds.ts"
import { float, type PythonValue } from "../../src/runconfig/Provider.ts"
import { rows, type Table } from "../../src/bridge/Registry.ts"
import { FormatError } from "../../src/errors.ts"
import { hybrid, HYBRID_LETTERS, type HybridBlock, hybridLayer } from "../../src/model/hybrid.ts"
import type { ModuleSource } from "../../src/model/ModelModule.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"
import { activationOf } from "./activations.ts"
import { NO_PLACE, refuseBiases } from "./biases.ts"
import { many, size } from "./config.ts"
import { type ExpertLayout, expertLayout, plainExperts } from "./experts.ts"
import { commonOf, type TextPrefixes, transformerOf, vocabularyOf } from "./llama.ts"
import { mambaMixerRows } from "./mamba.ts"
import { GROUPED, moeFields, required, sigmoidRouter } from "./moe.ts"
import type { CommonFields } from "./provider.ts"

const BLOCKS: ReadonlyMap<string, HybridBlock> = new Map([
  ["linear_attention", "mamba"],
  ["mamba", "mamba"],
  ["full_attention", "attention"],
  ["attention", "attention"],
  ["mlp", "mlp"],
  ["moe", "moe"],
  ...Object.entries(HYBRID_LETTERS).map(([block, letter]) => [letter, block as HybridBlock] as const)
])

const list = z.array(z.enum(["linear_attention", "mamba", "full_attention", "attention", "mlp", "moe"])).min(1).max(100_000)
const letters = z.string().regex(/^[M*E-]+$/).max(100_000)

/** Absent sizes have the defaults of the published config class. */
export const nemotronHFields = {
  ...moeFields,
  num_hidden_layers: many.nullish(),
  layers_block_type: list.nullish(),
  layer_types: list.nullish(),
  hybrid_override_pattern: letters.nullish(),
  mtp_layers_block_type: list.nullish(),
  mtp_hybrid_override_pattern: letters.nullish(),
  mtp_use_repeated_layer: z.boolean().nullish(),
  mtp_loss_scaling_factor: z.number().nullish(),
  hidden_dropout: z.number().nullish(),
  attention_head_dim: size.nullish(),
  layer_norm_epsilon: z.number().nullish(),
  mlp_hidden_act: z.string().nullish(),
  mamba_num_heads: size.default(128),
  mamba_head_dim: size.default(64),
  n_groups: size.default(8),
  ssm_state_size: size.default(128),
  conv_kernel: size.default(4),
  chunk_size: size.nullish(),
  use_conv_bias: z.boolean().nullish(),
  use_bias: z.boolean().nullish(),
  mamba_proj_bias: z.boolean().nullish(),
  residual_in_fp32: z.boolean().nullish(),
  moe_shared_expert_intermediate_size: size.nullish(),
  moe_latent_size: size.nullish(),
  moe_shared_expert_overlap: z.boolean().nullish()
}

const schema = z.looseObject(nemotronHFields)
export type NemotronH = z.infer<typeof schema>

const blocksOf = (names: Iterable<string>): ReadonlyArray<HybridBlock> => [...names].map((name) => BLOCKS.get(name)!)

export interface HybridDecoder {
  readonly blocks: ReadonlyArray<HybridBlock>
  readonly mtpBlocks: ReadonlyArray<HybridBlock>
  readonly tc: TransformerConfig
}

const DEFAULT_MTP = "full_attention,moe"

/**
 * Block lists win over the older pattern strings, unless they hold the config class's default. `repeats`: whether the trainer's class
 * repeats the first multi-token-prediction module where the config does not say.
 */
export const hybridDecoder = (t: NemotronH, tied = t.tie_word_embeddings ?? false, repeats = true): HybridDecoder => {
  refuseBiases(t, ["attention_bias", "mlp_bias", "use_bias", "mamba_proj_bias"], NO_PLACE.mixer)
  const main = t.layers_block_type ?? t.layer_types ?? t.hybrid_override_pattern
  if (!main) throw new FormatError("config/missing", "a hybrid model needs its layers", { field: "hybrid_override_pattern" })
  const listed = t.mtp_layers_block_type
  const mtp = (listed && String(listed) !== DEFAULT_MTP ? listed : t.mtp_hybrid_override_pattern ?? listed) ?? DEFAULT_MTP.split(",")
  const modules = t.num_nextn_predict_layers ?? 0
  const [blocks, mtpBlocks] = [blocksOf(main), modules > 0 ? blocksOf(mtp) : []]
  const all = [...blocks, ...mtpBlocks]
  const tc = transformerOf({ ...t, num_hidden_layers: blocks.length }, {
    kv_channels: t.head_dim ?? t.attention_head_dim ?? 128,
    ffn_hidden_size: all.includes("mlp") ? required(t.intermediate_size, "intermediate_size") : t.intermediate_size ?? undefined,
    gated_linear_unit: false,
    share_embeddings_and_output_weights: tied,
    mamba_num_heads: t.mamba_num_heads,
    mamba_head_dim: t.mamba_head_dim,
    mamba_num_groups: t.n_groups,
    mamba_state_dim: t.ssm_state_size,
    mtp_num_layers: modules,
    moe_router_topk: t.num_experts_per_tok ?? undefined,
    mtp_use_repeated_layer: modules > 0 && (t.mtp_use_repeated_layer ?? repeats),
    ...(all.includes("moe") || t.n_routed_experts
      ? {
        num_moe_experts: required(t.n_routed_experts, "n_routed_experts"),
        moe_ffn_hidden_size: required(t.moe_intermediate_size, "moe_intermediate_size"),
        moe_shared_expert_intermediate_size: t.moe_shared_expert_intermediate_size ?? null,
        moe_router_enable_expert_bias: true,
        moe_latent_size: t.moe_latent_size ?? null
      }
      : {})
  })
  return { blocks, mtpBlocks, tc }
}

export const nemotronHModule = (path: string, t: NemotronH, { blocks, mtpBlocks, tc }: HybridDecoder): ModuleSource => ({
  kind: "language",
  path,
  config: tc,
  build: (s) =>
    hybrid(s, tc, {
      layer: (layer, i) => hybridLayer(layer, tc, blocks[i]!, { kernel: t.conv_kernel, convBias: t.use_conv_bias ?? true }),
      mtp: mtpBlocks
    })
})

/** Rows of any layer: its block is called `mixer` whatever it is. */
const layerRows = (moe: Table): Table => ({
  "mixer.in_proj.layer_norm_weight": "norm.weight",
  ...mambaMixerRows("mixer.", "mixer."),
  "mlp.linear_fc1.layer_norm_weight": "norm.weight",
  "mlp.linear_fc1.weight": "mixer.up_proj.weight",
  "mlp.linear_fc2.weight": "mixer.down_proj.weight",
  "self_attention.linear_proj.weight": "mixer.o_proj.weight",
  "self_attention.linear_qkv.layer_norm_weight": "norm.weight",
  "self_attention.linear_qkv.weight": qkvOf("mixer.{q,k,v}_proj.weight"),
  ...moe
})

const moeRows = (experts: Table): Table => ({
  "pre_mlp_layernorm.weight": "norm.weight",
  "mlp.router.weight": "mixer.gate.weight",
  "mlp.router.expert_bias": "mixer.gate.e_score_correction_bias",
  "mlp.fc1_latent_proj.weight": "mixer.fc1_latent_proj.weight",
  "mlp.fc2_latent_proj.weight": "mixer.fc2_latent_proj.weight",
  ...experts,
  "mlp.shared_experts.linear_fc1.weight": "mixer.shared_experts.up_proj.weight",
  "mlp.shared_experts.linear_fc2.weight": "mixer.shared_experts.down_proj.weight"
})

/** HF numbers the inner layers of all multi-token-prediction modules through; the frame belongs to the first and last of each. */
const mtpRows = (megatron: string, per: number, modules: number, layer: Table): ReadonlyArray<Row> =>
  Array.from({ length: modules }, (_, k) => [
    ...rows(`${megatron}mtp.layers.${k}.`, `mtp.layers.${k * per}.`, {
      "enorm.weight": "enorm.weight",
      "hnorm.weight": "hnorm.weight",
      "eh_proj.weight": "eh_proj.weight"
    }),
    ...rows(`${megatron}mtp.layers.${k}.`, `mtp.layers.${(k + 1) * per - 1}.`, { "final_layernorm.weight": "final_layernorm.weight" }),
    ...Array.from({ length: per }, (_, i) => rows(`${megatron}mtp.layers.${k}.mtp_model_layer.layers.${i}.`, `mtp.layers.${k * per + i}.`, layer)).flat()
  ]).flat()

const prefixes = { megatron: "", model: "backbone.", head: "" }

/** How the experts of layers and of multi-token prediction lie. */
export const nemotronHLayout = (headers: HfHeaders, { model }: Pick<TextPrefixes, "model"> = prefixes) => ({ experts: expertLayout(headers, model), mtpExperts: expertLayout(headers, "mtp.") })

type LayoutFacts = ReturnType<typeof nemotronHLayout>

export const nemotronHRows = ({ mtpBlocks, tc }: HybridDecoder, layout: LayoutFacts, { head, megatron, model }: Required<TextPrefixes> = prefixes): ReadonlyArray<Row> => {
  const moe = (lying: ExpertLayout | undefined): Table => (tc.num_moe_experts ? moeRows(plainExperts(tc, lying, "mixer.experts")) : {})
  return [
    ...rows(megatron, "", {
      "embedding.word_embeddings.weight": `${model}embeddings.weight`,
      "decoder.final_norm.weight": `${model}norm_f.weight`,
      "output_layer.weight": `${head}lm_head.weight`
    }),
    ...rows(`${megatron}decoder.layers.*.`, `${model}layers.*.`, layerRows(moe(layout.experts))),
    ...mtpRows(megatron, mtpBlocks.length, tc.mtp_num_layers ?? 0, layerRows(moe(layout.mtpExperts)))
  ]
}

/** Further multi-token-prediction modules where the trainer repeats the first. */
export const nemotronHCarried = (text: HybridDecoder, layout: LayoutFacts, names: Required<TextPrefixes> = prefixes): ReadonlyArray<Carried> => {
  if (!text.tc.mtp_use_repeated_layer) return []
  const modules = `${names.megatron}mtp.layers.`
  const repeats = nemotronHRows(text, layout, names).filter(({ megatron }) => megatron.startsWith(modules) && !megatron.startsWith(`${modules}0.`))
  return [...new Set(repeats.flatMap(({ hf }) => hf))].map((pattern) => ({ pattern, why: "the trainer repeats the first multi-token-prediction module" }))
}

export const nemotronHVocabulary = ({ tc }: HybridDecoder, { head, model }: Required<TextPrefixes> = prefixes): Vocabulary =>
  vocabularyOf(tc, { head, model, embedding: "embeddings" })

export const nemotronHCommon = (t: NemotronH): CommonFields => ({
  ...commonOf({ ...t, num_hidden_layers: 1 }),
  activation: activationOf(t.mlp_hidden_act ?? "relu2"),
  layernorm_epsilon: t.layer_norm_epsilon ?? t.rms_norm_eps ?? 1e-5
})

const patternOf = (blocks: ReadonlyArray<HybridBlock>): string => blocks.map((block) => HYBRID_LETTERS[block]).join("")

/** Provider fields of the text model. */
export const nemotronHExtra = (t: NemotronH, { blocks, mtpBlocks, tc }: HybridDecoder): Record<string, PythonValue | undefined> => {
  const modules = tc.mtp_num_layers ?? 0
  return {
    ...GROUPED,
    ...sigmoidRouter(t),
    hidden_dropout: float(t.hidden_dropout ?? 0),
    attention_dropout: float(t.attention_dropout ?? 0),
    position_embedding_type: "none",
    is_hybrid_model: true,
    attention_softmax_in_fp32: false,
    masked_softmax_fusion: true,
    persist_layer_norm: true,
    keep_mtp_spec_in_bf16: modules > 0 && t["keep_mtp_spec_in_bf16"] !== false,
    hybrid_layer_pattern: [patternOf(blocks), ...Array.from({ length: modules }, () => patternOf(mtpBlocks))].join("/"),
    mtp_hybrid_override_pattern: modules > 0 ? patternOf(mtpBlocks) : null,
    mtp_num_layers: modules,
    mtp_loss_scaling_factor: modules > 0 ? float(t.mtp_loss_scaling_factor ?? 0.3) : undefined,
    mamba_chunk_size: t.chunk_size ?? undefined,
    fp32_residual_connection: t.residual_in_fp32 ?? undefined,
    first_last_layers_bf16: true,
    moe_aux_loss_coeff: float(0.0001),
    moe_router_dtype: "fp32",
    moe_router_load_balancing_type: "seq_aux_loss",
    moe_router_enable_expert_bias: true,
    moe_shared_expert_overlap: t.moe_shared_expert_overlap ?? true
  }
}
