/** Checkpoints of any size that take no room: a real index over sparse files. */
import { mkdirSync, openSync, closeSync, ftruncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { DcpMetadata, StoredChunk, StoredObject, StoredTensor } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { objectItem } from "../../src/torch/ObjectItem.ts"
import { tensorItem } from "../../src/torch/TensorItem.ts"
import { trainStateFile, untrained } from "../../src/torch/TrainState.ts"

export interface LargeOptions {
  readonly layers: number
  /** Tensors of every layer. */
  readonly perLayer: number
  readonly shape: readonly [number, number]
  /** Data files; tensors go round. */
  readonly ranks: number
}

/** Write an MIMO-like checkpoint whose data files are holes. Returns the bytes that it claims to have. */
export const writeLarge = (parent: string, { layers, perLayer, ranks, shape }: LargeOptions): number => {
  const directory = join(parent, "iter_0000000")
  mkdirSync(directory, { recursive: true })
  const sizes = new Map<string, number>()
  const item = tensorItem("BF16", shape)
  const take = (file: string, length: number): StoredObject => {
    const offset = sizes.get(file) ?? 0
    sizes.set(file, offset + length)
    return { file, offset, length }
  }
  const common = objectItem(new Map([["iteration", 0]]))
  const objects = new Map<string, StoredObject>([["common_state/shard_0_1", take("__0_0.distcp", common.byteLength)]])
  const tensors = new Map<string, StoredTensor>()
  for (let layer = 0; layer < layers; layer++) {
    for (let i = 0; i < perLayer; i++) {
      const chunk: StoredChunk = { offsets: [0, 0], sizes: shape, ...take(`__${layer % ranks}_0.distcp`, item.length) }
      tensors.set(`language_model.decoder.layers.${layer}.mlp.part${i}.weight`, { dtype: "BF16", shape, chunks: [chunk] })
    }
    objects.set(`language_model.decoder.layers.${layer}.mlp.linear_fc1._extra_state/shard_0_1`, objects.get("common_state/shard_0_1")!)
  }
  const metadata: DcpMetadata = { className: "torch.distributed.checkpoint.metadata.Metadata", tensors, objects }
  writeFileSync(join(directory, ".metadata"), encodeMetadata(metadata))
  writeFileSync(join(directory, "metadata.json"), '{"sharded_backend": "torch_dist", "sharded_backend_version": 1}')
  for (const [name, size] of sizes) {
    const file = openSync(join(directory, name), "w")
    if (name === "__0_0.distcp") writeFileSync(file, common)
    ftruncateSync(file, size)
    closeSync(file)
  }
  writeFileSync(join(parent, "latest_train_state.pt"), trainStateFile(untrained(0)))
  writeFileSync(join(parent, "latest_checkpointed_iteration.txt"), "0")
  return [...sizes.values()].reduce((a, b) => a + b, 0)
}
