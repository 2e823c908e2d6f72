/** Llama-Nemotron (Super, Ultra): Llama whose layers were pruned one by one, by the `block_configs` of its config. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { gpt } from "../src/model/gpt.ts"
import { type LayerBlocks, heterogeneousLayer } from "../src/model/heterogeneous.ts"
import { FormatError } from "../src/errors.ts"
import { biasFields, flaggedBiases, flaggedZeroBiases, refuseBiases, withZeroBiases } from "./shared/biases.ts"
import { attention, denseMlp, mlpBiases } from "./shared/blocks.ts"
import { size } from "./shared/config.ts"
import { commonOf, divided, extraOf, textFields, transformerOf } from "./shared/llama.ts"
import { whole } from "./shared/hfConfig.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { textModel } from "./shared/textModel.ts"

const replaceable = { no_op: z.boolean().nullish(), replace_with_linear: z.boolean().nullish() }

const block = z.looseObject({
  attention: z.looseObject({ ...replaceable, n_heads_in_group: size.nullish() }),
  ffn: z.looseObject({ ...replaceable, ffn_mult: z.number().positive().nullish(), intermediate_size: size.nullish() })
})

const config = z.looseObject({ ...textFields, block_configs: z.array(block).min(1) })

/** ⅔ of the usual widening, cut to an integer and rounded up to a multiple of 256. */
const widened = (multiple: number, hidden: number): number => Math.ceil(Math.trunc((2 * multiple * hidden) / 3) / 256) * 256

const blockOf = ({ attention: a, ffn }: z.infer<typeof block>, t: z.infer<typeof config>, index: number): LayerBlocks => {
  const missing = (field: string) => new FormatError("config/block", "the block has no size", { field: `block_configs.${index}.${field}` })
  const width = ffn.ffn_mult ? widened(ffn.ffn_mult, t.hidden_size) : ffn.intermediate_size
  if (!a.no_op && !a.replace_with_linear && !a.n_heads_in_group) throw missing("attention.n_heads_in_group")
  if (!ffn.no_op && !ffn.replace_with_linear && !width) throw missing("ffn.ffn_mult")
  return {
    attention: a.no_op ? "none" : a.replace_with_linear ? "linear" : { groups: divided(t.num_attention_heads, a.n_heads_in_group!, "n_heads_in_group") },
    mlp: ffn.no_op ? "none" : ffn.replace_with_linear ? "linear" : { ffn: width! }
  }
}

/** As the reference writes JSON into its configs: keys sorted, two spaces. */
const sortedJson = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) => (v === null || typeof v !== "object" || Array.isArray(v) ? v : "$float" in v ? v.$float : Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))), 2)

/** The whole config, as the trainer gets it: its model class reads the blocks, and an export the rest. */
const asWritten = (t: z.infer<typeof config>): unknown => {
  // Named by code in the model's repository, which the trainer does not run.
  const { model_type: _, ...fields } = whole(t)
  return fields
}

export const llamaNemotron = family({
  name: "llama-nemotron",
  architectures: ["DeciLMForCausalLM"],
  config,
  describe: (t) => {
    if (t.block_configs.length !== t.num_hidden_layers) {
      throw new FormatError("config/block", `${t.block_configs.length} blocks for ${t.num_hidden_layers} layers`, { field: "block_configs" })
    }
    const blocks = t.block_configs.map((b, i) => blockOf(b, t, i))
    const biases = flaggedBiases(t)
    if (blocks.some((b) => b.attention === "linear" || b.mlp === "linear")) {
      refuseBiases(t, ["attention_bias", "mlp_bias"], "its linear maps in place of a module have none unless all layers do")
    }
    const tc = transformerOf(t, { ...biasFields(biases), ffn_hidden_size: t.intermediate_size ?? 4 * t.hidden_size, heterogeneous_block_specs: true })
    return textModel({
      tc,
      build: (s) => gpt(s, tc, { layer: (layer, i) => heterogeneousLayer(layer, tc, blocks[i]!) }),
      table: withZeroBiases({
        ...attention,
        "self_attention.layer_norm_weight": "input_layernorm.weight",
        "self_attention.weight": "self_attn.linear_attn.weight",
        ...denseMlp,
        "mlp.layer_norm_weight": "post_attention_layernorm.weight",
        "mlp.weight": "mlp.linear_mlp.weight",
        ...mlpBiases
      }, biases),
      provider: gptProvider(
        "megatron.bridge.models.llama_nemotron.llama_nemotron_provider.LlamaNemotronHeterogeneousProvider",
        tc,
        commonOf(t),
        { ...extraOf(t), ...llamaScalingFields(t), heterogeneous_layers_config_encoded_json: sortedJson(asWritten(t)) }
      ),
      ...flaggedZeroBiases(t)
    })
  }
})
