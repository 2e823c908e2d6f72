/** Granite 3: Llama, or Mixtral with one packed tensor for all experts, whose embeddings, scores, residuals and logits have factors of their own. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { packedExpertOf } from "../src/bridge/kinds.ts"
import { float, type PythonValue } from "../src/runconfig/Provider.ts"
import type { Renaming } from "../src/bridge/Spelling.ts"
import { attentionBiases, biasFields, flaggedBiases, flaggedZeroBiases, NO_PLACE, refuseBiases, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { attention, denseMlp, mlpBiases } from "./shared/blocks.ts"
import { count, defaulted, size } from "./shared/config.ts"
import { type ForwardChange, forwardOf } from "./shared/forward.ts"
import { BIAS_FUSIONS, DENSE_FUSIONS } from "./shared/fusions.ts"
import { commonOf, denseFields, extraOf, type TextConfig, transformerOf } from "./shared/llama.ts"
import { expertsOf, GROUPED, moeFields, router } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { GPT, textModel } from "./shared/textModel.ts"
import { lostNote } from "./shared/trainerNeeds.ts"

const factor = z.number().nullish()
const factors = { embedding_multiplier: factor, logits_scaling: factor, residual_multiplier: factor, attention_multiplier: factor }
type Factors = TextConfig & z.infer<z.ZodObject<typeof factors>>

/** The trainer scales embeddings, logits and scores as part of its maximal-update parametrisation, here with a width of 1; residuals it cannot. */
const scaled = (t: Factors) => {
  const { attention_multiplier: scores, embedding_multiplier: embeddings, logits_scaling: logits, residual_multiplier: residuals } = t
  const [byEmbeddings, byLogits, scale] = [embeddings ?? 1, logits ?? 1, scores ?? 1]
  const provider: Record<string, PythonValue> = {
    softmax_scale: float(scale),
    ...(byEmbeddings === 1 && byLogits === 1
      ? {}
      : { use_mup: true, mup_base_hidden_size: t.hidden_size, mup_embedding_mult: float(byEmbeddings), mup_output_mult: float(1 / byLogits) })
  }
  const forward: ForwardChange = {
    embeddingScale: byEmbeddings,
    logitScale: 1 / byLogits,
    residualScale: residuals ?? 1,
    layer: () => ({ scale })
  }
  return { provider, forward, notes: lostNote((residuals ?? 1) === 1 ? {} : { residual_multiplier: residuals! }) }
}

const PUBLISHED = { max_position_embeddings: 2048 }

export const granite = family({
  name: "granite",
  architectures: ["GraniteForCausalLM"],
  config: () => defaulted(PUBLISHED, z.looseObject({ ...denseFields, ...factors })),
  describe: (t) => {
    const biases = flaggedBiases(t)
    const tc = transformerOf(t, biasFields(biases))
    const { forward, notes, provider } = scaled(t)
    return textModel({
      tc,
      table: withZeroBiases({ ...attention, ...denseMlp, ...mlpBiases }, biases),
      provider: gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), ...DENSE_FUSIONS, ...llamaScalingFields(t), ...provider }),
      forward: forwardOf(t, forward),
      ...flaggedZeroBiases(t),
      notes
    })
  }
})

/** As transformers 5 has them. */
const SPELLINGS: ReadonlyArray<Renaming> = [
  [".block_sparse_moe.input_linear.weight", ".block_sparse_moe.experts.gate_up_proj"],
  [".block_sparse_moe.output_linear.weight", ".block_sparse_moe.experts.down_proj"],
  [".block_sparse_moe.router.layer.weight", ".block_sparse_moe.router.weight"]
]

export const graniteMoe = family({
  name: "granite-moe",
  architectures: ["GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"],
  config: () => defaulted({ ...PUBLISHED, num_local_experts: 8, num_experts_per_tok: 2 }, z.looseObject({
    ...moeFields,
    ...factors,
    intermediate_size: size,
    num_experts_per_tok: size,
    shared_intermediate_size: count.nullish()
  })),
  spellings: SPELLINGS,
  describe: (t) => {
    const shared = t.shared_intermediate_size || null
    const biases = attentionBiases(t)
    if (shared !== null) refuseBiases(t, ["attention_bias"], NO_PLACE.shared)
    const tc = transformerOf(t, {
      ...biasFields(biases),
      num_moe_experts: expertsOf(t),
      moe_router_topk: t.num_experts_per_tok,
      moe_ffn_hidden_size: t.intermediate_size,
      moe_shared_expert_intermediate_size: shared
    })
    const { forward, notes, provider } = scaled(t)
    const packed = { experts: expertsOf(t), transposed: false }
    return textModel({
      tc,
      table: withZeroBiases({
        ...attention,
        ...router("block_sparse_moe.router.layer.weight"),
        "mlp.shared_experts.linear_fc1.weight": "shared_mlp.input_linear.weight",
        "mlp.shared_experts.linear_fc2.weight": "shared_mlp.output_linear.weight",
        "mlp.experts.linear_fc1.weight*": packedExpertOf(packed, "block_sparse_moe.input_linear.weight"),
        "mlp.experts.linear_fc2.weight*": packedExpertOf(packed, "block_sparse_moe.output_linear.weight")
      }, biases),
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        ...BIAS_FUSIONS,
        ...llamaScalingFields(t),
        ...provider,
        moe_aux_loss_coeff: float(t.router_aux_loss_coef ?? 0.001)
      }),
      forward: forwardOf(t, { ...forward, router: { score: "chosen-softmax", scale: 1 } }),
      ...zeroBiases(biases),
      notes
    })
  }
})
