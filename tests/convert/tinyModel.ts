/** A dense text model of a few kilobytes as a Hugging Face directory; its sizes are the test's. */
import { Effect } from "effect"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Disk, writeSafetensors } from "../../src/safetensors/effect.ts"

export interface Sizes {
  readonly vocabulary: number
  readonly layers: number
  readonly heads: number
  readonly groups: number
  readonly ffn: number
  readonly tied: boolean
  /** Rows of the stored tables, where they are not the vocabulary that config.json names. */
  readonly rows: number
}

const HIDDEN = 16
const HEAD_DIM = 4

/** Shapes by name, in the order of the model. */
export const shapesOf = ({ ffn, groups, heads, layers, rows, tied }: Sizes): ReadonlyArray<readonly [string, ReadonlyArray<number>]> => [
  ["model.embed_tokens.weight", [rows, HIDDEN]],
  ...Array.from({ length: layers }, (_, layer): ReadonlyArray<readonly [string, ReadonlyArray<number>]> => [
    ["input_layernorm.weight", [HIDDEN]],
    ["self_attn.q_proj.weight", [heads * HEAD_DIM, HIDDEN]],
    ["self_attn.k_proj.weight", [groups * HEAD_DIM, HIDDEN]],
    ["self_attn.v_proj.weight", [groups * HEAD_DIM, HIDDEN]],
    ["self_attn.o_proj.weight", [HIDDEN, heads * HEAD_DIM]],
    ["self_attn.q_norm.weight", [HEAD_DIM]],
    ["self_attn.k_norm.weight", [HEAD_DIM]],
    ["post_attention_layernorm.weight", [HIDDEN]],
    ["mlp.gate_proj.weight", [ffn, HIDDEN]],
    ["mlp.up_proj.weight", [ffn, HIDDEN]],
    ["mlp.down_proj.weight", [HIDDEN, ffn]]
  ].map(([name, shape]) => [`model.layers.${layer}.${name as string}`, shape as ReadonlyArray<number>] as const)).flat(),
  ["model.norm.weight", [HIDDEN]],
  ...(tied ? [] : [["lm_head.weight", [rows, HIDDEN]] as const])
]

/** No two bytes of a small tensor alike, and no element zero. */
const content = (elements: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: 2 * elements }, (_, i) => 1 + ((i * 37 + seed * 101) % 251))

export const tinyModel = async (directory: string, given: Partial<Sizes> = {}): Promise<Sizes> => {
  const vocabulary = given.vocabulary ?? 32
  const sizes: Sizes = { vocabulary, layers: 2, heads: 4, groups: 2, ffn: 24, tied: false, rows: vocabulary, ...given }
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, "config.json"), JSON.stringify({
    architectures: ["Qwen3ForCausalLM"],
    model_type: "qwen3",
    vocab_size: sizes.vocabulary,
    hidden_size: HIDDEN,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.groups,
    head_dim: HEAD_DIM,
    intermediate_size: sizes.ffn,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: sizes.tied,
    torch_dtype: "bfloat16"
  }, undefined, 2))
  const tensors = shapesOf(sizes).map(([name, shape], i) =>
    ({ name, dtype: "BF16" as const, shape, data: content(shape.reduce((n, extent) => n * extent, 1), i) }))
  await Effect.runPromise(writeSafetensors(join(directory, "model.safetensors"), tensors).pipe(Effect.provide(Disk.layer)))
  return sizes
}
