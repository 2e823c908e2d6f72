/** Random small transformers with optimizer state, standard or of MegatronMIMO, written as one rank would save them. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { volume } from "../../src/tensor/Copy.ts"
import { bytesOf, type DType } from "../../src/tensor/DType.ts"
import { crc32 } from "../../src/torch/Crc32.ts"
import type { StoredObject, StoredTensor } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { objectItem } from "../../src/torch/ObjectItem.ts"
import { EMPTY_UINT8, PyFloat, type PyValue } from "../../src/torch/PyValue.ts"
import { tensorItem } from "../../src/torch/TensorItem.ts"

type Shape = ReadonlyArray<number>

export interface RandomSizes {
  readonly layers: number
  readonly hidden: number
  readonly heads: number
  readonly ffn: number
  readonly vocabulary: number
  readonly experts: number | undefined
  readonly gated: boolean
  readonly tied: boolean
  readonly indexed: boolean
  /** Latent attention: down projections that every tensor-parallel rank holds whole. */
  readonly latent?: boolean
  /** A layer of multi-token prediction, on the last stage; not of MegatronMIMO. */
  readonly mtp?: boolean
  /** A tower beside it, each component with an optimizer of its own. */
  readonly mimo: boolean
  /** Which states each tensor has: a master under either name, or none. */
  readonly states: ReadonlyArray<string>
}

/** The states of the optimizers that say where every tensor's state is. */
export const STATES = [["param", "exp_avg", "exp_avg_sq"], ["fp32_param", "exp_avg", "exp_avg_sq"], ["exp_avg", "exp_avg_sq"], ["momentum_buffer"], []]

/** Ranks of the latent projections. */
const [QUERIES, KEYS] = [6, 4]

/** Key → shape, as a checkpoint stores them. */
const language = ({ experts, ffn, gated, heads, hidden, indexed, latent = false, layers, mimo, mtp = false, tied, vocabulary }: RandomSizes): ReadonlyArray<readonly [string, Shape]> => {
  const first = gated ? 2 * ffn : ffn
  const attention: ReadonlyArray<readonly [string, Shape]> = latent
    ? [
      ["input_layernorm.weight", [hidden]], ["self_attention.linear_q_down_proj.weight", [QUERIES, hidden]], ["self_attention.linear_q_up_proj.layer_norm_weight", [QUERIES]],
      ["self_attention.linear_q_up_proj.weight", [heads * 6, QUERIES]], ["self_attention.linear_kv_down_proj.weight", [KEYS + 2, hidden]],
      ["self_attention.linear_kv_up_proj.layer_norm_weight", [KEYS]], ["self_attention.linear_kv_up_proj.weight", [heads * 8, KEYS]]
    ]
    : [["self_attention.linear_qkv.layer_norm_weight", [hidden]], ["self_attention.linear_qkv.weight", [3 * heads * 4, hidden]], ["self_attention.linear_qkv.bias", [3 * heads * 4]]]
  const layer: ReadonlyArray<readonly [string, Shape]> = [
    ...attention,
    ["self_attention.linear_proj.weight", [hidden, heads * 4]],
    ...(experts === undefined
      ? [["mlp.linear_fc1.layer_norm_weight", [hidden]], ["mlp.linear_fc1.weight", [first, hidden]], ["mlp.linear_fc1.bias", [first]], ["mlp.linear_fc2.weight", [hidden, ffn]]] as const
      : [["pre_mlp_layernorm.weight", [hidden]], ["mlp.router.weight", [experts, hidden]], ["mlp.experts.experts.linear_fc1.weight", [experts, first, hidden]], ["mlp.experts.experts.linear_fc2.weight", [experts, hidden, ffn]]] as const)
  ]
  return [
    ["embedding.word_embeddings.weight", [vocabulary, hidden]],
    ...layer.flatMap(([key, shape]): ReadonlyArray<readonly [string, Shape]> =>
      indexed ? Array.from({ length: layers }, (_, i) => [`decoder.layers.${i}.${key}`, shape] as const) : [[`decoder.layers.${key}`, [layers, ...shape]]]),
    ["decoder.final_layernorm.weight", [hidden]],
    ...(mtp && !mimo
      ? [
        ...["enorm", "hnorm", "final_layernorm"].map((norm) => [`mtp.layers.0.${norm}.weight`, [hidden]] as const), ["mtp.layers.0.eh_proj.weight", [hidden, 2 * hidden]] as const,
        ...layer.map(([key, shape]) => [`mtp.layers.0.transformer_layer.${key}`, shape] as const)
      ]
      : []),
    ...(tied ? [] : [["output_layer.weight", [vocabulary, hidden]] as const])
  ]
}

/** A tower of two layers and its projection. */
const tower = ({ heads, hidden }: RandomSizes): ReadonlyArray<readonly [string, Shape]> => [
  ["encoders.clip.conv1.weight", [hidden, 3, 2, 2]], ["encoders.clip.position_embeddings.weight", [5, hidden]],
  ...[["self_attention.linear_qkv.weight", [3 * heads * 4, hidden]], ["self_attention.linear_proj.weight", [hidden, heads * 4]], ["mlp.linear_fc1.weight", [4 * hidden, hidden]], ["mlp.linear_fc1.bias", [4 * hidden]], ["mlp.linear_fc2.weight", [hidden, 4 * hidden]]]
    .map(([key, shape]) => [`encoders.clip.decoder.layers.${key as string}`, [2, ...shape as Shape]] as const),
  ["input_projections.0.encoder.linear_fc1.weight", [2 * hidden, hidden]], ["input_projections.0.encoder.linear_fc2.weight", [hidden, 2 * hidden]]
]

/** Keys with the prefix that their component's optimizer has. */
const model = (sizes: RandomSizes): ReadonlyArray<readonly [string, Shape, string]> =>
  sizes.mimo
    ? [...language(sizes).map(([key, shape]) => [`language_model.module.${key}`, shape, "mimo.language."] as const), ...tower(sizes).map(([key, shape]) => [`modality_submodules.images.module.${key}`, shape, "mimo.images."] as const)]
    : language(sizes).map(([key, shape]) => [key, shape, ""] as const)

/** Write the iteration `iter_0000007` below `parent`, and name `parent`. */
export const writeRandomModel = (parent: string, sizes: RandomSizes, seed: number): string => {
  const folder = join(parent, "iter_0000007")
  mkdirSync(folder, { recursive: true })
  const pieces: Array<Uint8Array> = []
  let size = 0
  const append = (bytes: Uint8Array): StoredObject => {
    pieces.push(bytes)
    size += bytes.byteLength
    return { file: "__0_0.distcp", offset: size - bytes.byteLength, length: bytes.byteLength }
  }
  let state = seed * 2 + 1
  const stored = (dtype: DType, shape: Shape): StoredTensor => {
    const data = new Uint8Array(volume(shape) * bytesOf(dtype)).map(() => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 24)
    const item = tensorItem(dtype, shape)
    const place = append(Buffer.concat([item.prefix, data, item.suffix(crc32(data))]))
    return { dtype, shape, chunks: [{ offsets: shape.map(() => 0), sizes: shape, ...place }] }
  }
  const common = new Map<PyValue, PyValue>([
    ["checkpoint_version", new PyFloat(3)], ["iteration", 7],
    ["optimizer", new Map<PyValue, PyValue>([["optimizer", new Map([["param_groups", [new Map<PyValue, PyValue>([["wd_mult", new PyFloat(1)], ["is_expert_parallel", false], ["step", 7]])]]])], ["param_state_sharding_type", "fully_reshardable"]])],
    ["content_metadata", new Map<PyValue, PyValue>([["distrib_optim_sharding_type", "fully_reshardable"], ["singleton_local_shards", false], ["chained_optim_avoid_prefix", true]])]
  ])
  // In the order of a trainer: a file that is taken over whole keeps it.
  const objects = new Map([[`${sizes.mimo ? "language_model.module." : ""}decoder.final_layernorm._extra_state/shard_0_1`, append(objectItem(EMPTY_UINT8))], ["common_state/shard_0_1", append(objectItem(common))]])
  const keys = model(sizes)
  const tensors = new Map<string, StoredTensor>()
  for (const [key, shape] of keys) tensors.set(key, stored("BF16", shape))
  for (const [key, shape, prefix] of keys) for (const name of sizes.states) tensors.set(`${prefix}optimizer.state.${name}.${key}`, stored("F32", shape))
  writeFileSync(join(folder, "__0_0.distcp"), Buffer.concat(pieces))
  writeFileSync(join(folder, ".metadata"), encodeMetadata({ className: "torch.distributed.checkpoint.metadata.Metadata", tensors, objects }))
  writeFileSync(join(folder, "metadata.json"), '{"sharded_backend": "torch_dist", "sharded_backend_version": 1}')
  writeFileSync(join(parent, "latest_checkpointed_iteration.txt"), "7")
  return parent
}
