/**
 * GLM-5 (also DeepSeek V3.2's attention): latent attention whose keys an indexer selects, experts behind dense layers. Some
 * layers may use an earlier layer's selection; they have no indexer. The trainer is built without multi-token prediction: the
 * appended layers' tensors are carried.
 */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float, pythonName } from "../src/runconfig/Provider.ts"
import type { Table } from "../src/bridge/Registry.ts"
import { FormatError } from "../src/errors.ts"
import { gpt, transformerLayer } from "../src/model/gpt.ts"
import { isMoe } from "../src/model/TransformerConfig.ts"
import { appendedCarried } from "./shared/appendedMtp.ts"
import { count, many, positions, size } from "./shared/config.ts"
import { HYBRID_DISPATCH } from "./shared/fusions.ts"
import { commonOf } from "./shared/llama.ts"
import { latentMoeExtra, latentMoeFields, latentMoeLayer, latentMoeTransformer, MLA } from "./shared/mla.ts"
import { auxLossOf, perLayer } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { textLayout } from "./shared/textLayout.ts"
import { textModel } from "./shared/textModel.ts"

const schema = () => z.looseObject({
  ...latentMoeFields,
  ...positions(202_752),
  q_lora_rank: size.default(2048),
  n_shared_experts: count.nullable().default(1),
  n_group: size.nullable().default(1),
  topk_group: size.nullable().default(1),
  routed_scaling_factor: z.number().nullable().default(2.5),
  first_k_dense_replace: many.nullable().default(3),
  rms_norm_eps: z.number().nullable().default(1e-5),
  index_n_heads: size,
  index_head_dim: size,
  index_topk: size,
  indexer_types: z.array(z.enum(["full", "shared"])).nullish(),
  index_topk_pattern: z.union([z.string().regex(/^[FS]*$/), z.array(z.enum(["full", "shared"]))]).nullish(),
  index_topk_freq: count.nullish(),
  index_skip_topk_offset: count.nullish(),
  indexer_rope_interleave: z.boolean().nullish()
})
type Config = z.infer<ReturnType<typeof schema>>

/** Which layers have an indexer: as listed, by a pattern, or all up to an offset and then every `index_topk_freq`-th. */
const indexers = (t: Config): ReadonlyArray<boolean> => {
  const { index_skip_topk_offset: offset, index_topk_freq: freq, index_topk_pattern: pattern, indexer_types, num_hidden_layers: layers } = t
  const listed = indexer_types ?? (typeof pattern === "string" ? [...pattern].map((c) => (c === "F" ? "full" : "shared")) : pattern)
  const own = listed
    ? perLayer(listed, layers, "indexer_types").map((kind) => kind === "full")
    : Array.from({ length: layers }, (_, i) => Math.max(i - (offset ?? 2) + 1, 0) % Math.max(freq ?? 1, 1) === 0)
  if (own[0] === false) throw new FormatError("config/indexer", "the first layer has no earlier selection to share", { field: "indexer_types" })
  return own
}

const indexer: Table = {
  "self_attention.core_attention.indexer.linear_wq_b.weight": "self_attn.indexer.wq_b.weight",
  "self_attention.core_attention.indexer.linear_wk.weight": "self_attn.indexer.wk.weight",
  "self_attention.core_attention.indexer.k_norm.weight": "self_attn.indexer.k_norm.weight",
  "self_attention.core_attention.indexer.k_norm.bias": "self_attn.indexer.k_norm.bias",
  "self_attention.core_attention.indexer.linear_weights_proj.weight": "self_attn.indexer.weights_proj.weight"
}

export const glmMoeDsa = family({
  name: "glm-5",
  architectures: ["GlmMoeDsaForCausalLM"],
  config: schema,
  layout: textLayout,
  describe: (t, { experts, modules }) => {
    const own = indexers(t)
    const tc = latentMoeTransformer(t, 3, {
      experimental_attention_variant: "dsa",
      dsa_indexer_n_heads: t.index_n_heads,
      dsa_indexer_head_dim: t.index_head_dim,
      moe_router_enable_expert_bias: true
    })
    const table = { ...latentMoeLayer(tc, experts), ...indexer }
    return textModel({
      tc,
      table,
      build: (s) =>
        gpt(s, tc, { layer: (layer, i) => transformerLayer(layer, tc, { linearAttention: false, moe: isMoe(tc, i) }, { indexer: own[i] === true }) }),
      provider: gptProvider(MLA, tc, commonOf(t), {
        ...latentMoeExtra(t),
        rotary_scaling_factor: float(1),
        mscale: float(1),
        mscale_all_dim: float(1),
        transformer_layer_spec: pythonName(
          "megatron.core.models.gpt.experimental_attention_variant_module_specs.get_transformer_block_with_experimental_attention_variant_spec"
        ),
        cp_comm_type: "allgather",
        make_vocab_size_divisible_by: 1280,
        moe_router_load_balancing_type: "seq_aux_loss",
        moe_router_score_function: "sigmoid",
        moe_aux_loss_coeff: auxLossOf(t),
        moe_shared_expert_overlap: true,
        attention_softmax_in_fp32: false,
        ...HYBRID_DISPATCH,
        dsa_indexer_topk: t.index_topk,
        dsa_indexer_topk_freq: t.index_topk_freq ?? undefined,
        dsa_indexer_skip_topk_offset: t.index_skip_topk_offset ?? undefined,
        dsa_indexer_rope_interleaved: t.indexer_rope_interleave ?? undefined,
        dsa_indexer_rotate_activation: false,
        dsa_indexer_k_norm_epsilon: float(1e-6),
        dsa_indexer_loss_coeff: float(0.001),
        dsa_indexer_use_sparse_loss: true
      }),
      carried: appendedCarried({ layers: t.num_hidden_layers, modules, table }),
      mtpFields: ["num_nextn_predict_layers"]
    })
  }
})
