/** The text of a starter family file for an unknown model: its names as rows, with what they look like, to be completed by hand. */
import { type NamePattern, recognise } from "../recognise/patterns.ts"
import { quote, safeJson } from "../quote.ts"
import type { Shape } from "../tensor/Copy.ts"

const camel = (architecture: string): string => architecture.charAt(0).toLowerCase() + architecture.slice(1).replace(/\W/g, "")

/** The longest common prefix of layer patterns, up to and with `*.`. */
const layerPrefix = (patterns: ReadonlyArray<NamePattern>): string | undefined => {
  const prefixes = new Map<string, number>()
  for (const { pattern } of patterns) {
    const end = pattern.indexOf("*.")
    if (end > 0) prefixes.set(pattern.slice(0, end + 2), (prefixes.get(pattern.slice(0, end + 2)) ?? 0) + 1)
  }
  return [...prefixes].sort((a, b) => b[1] - a[1])[0]?.[0]
}

const row = ({ count, looksLike, pattern, shape }: NamePattern, prefix: string): string =>
  `    // ${looksLike}; ${count} × [${shape}]\n    // "<megatron name>": ${safeJson(pattern.slice(prefix.length))},`

/** Every name is listed, none is mapped: an unmapped name is an error until somebody has decided. */
export const scaffold = (architecture: string, tensors: Iterable<{ readonly name: string; readonly shape: Shape }>): string => {
  const patterns = recognise(tensors)
  const prefix = layerPrefix(patterns) ?? "model.layers.*."
  const [layer, rest] = [patterns.filter((p) => p.pattern.startsWith(prefix)), patterns.filter((p) => !p.pattern.startsWith(prefix))]
  return `/** ${quote(architecture).replaceAll("*/", "* /")}. Starter file: decide every row, then list the family in routes/index.ts (docs/adding-a-family.md). */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { rows } from "../src/bridge/Registry.ts"
import { gpt } from "../src/model/gpt.ts"
import type { TransformerConfig } from "../src/model/TransformerConfig.ts"
import { dtypeField, many, size } from "./shared/config.ts"
import { gptProvider } from "./shared/provider.ts"

const schema = z.looseObject({
  num_hidden_layers: many.min(1),
  hidden_size: size,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  intermediate_size: size,
  vocab_size: size,
  rms_norm_eps: z.number().nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  dtype: dtypeField
})

const transformer = (c: z.infer<typeof schema>): TransformerConfig => ({
  num_layers: c.num_hidden_layers,
  hidden_size: c.hidden_size,
  num_attention_heads: c.num_attention_heads,
  num_query_groups: c.num_key_value_heads ?? c.num_attention_heads,
  kv_channels: c.head_dim ?? c.hidden_size / c.num_attention_heads,
  ffn_hidden_size: c.intermediate_size,
  vocab_size: c.vocab_size,
  normalization: "RMSNorm",
  gated_linear_unit: true,
  add_bias_linear: false,
  add_qkv_bias: false,
  qk_layernorm: false,
  share_embeddings_and_output_weights: c.tie_word_embeddings ?? false
})

const table = [
  ...rows("", "", {
${rest.map((p) => row(p, "")).join("\n")}
  }),
  ...rows("decoder.layers.*.", ${safeJson(prefix)}, {
${layer.map((p) => row(p, prefix)).join("\n")}
  })
]

export const ${camel(architecture)} = family({
  name: ${safeJson(architecture)},
  architectures: [${safeJson(architecture)}],
  config: schema,
  describe: (c) => {
    const tc = transformer(c)
    return {
      modules: [{ kind: "language", path: "", config: tc, build: (s) => gpt(s, tc) }],
      rows: table,
      provider: gptProvider("megatron.bridge.models.gpt_provider.GPTModelProvider", tc, { dtype: c.dtype ?? "bfloat16", layernorm_epsilon: c.rms_norm_eps })
    }
  }
})
`
}
