/** Models without data: shards of holes. */
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import type { Sample } from "../../routes/samples/Sample.ts"
import { sampleTensors } from "../../src/conformance/Sample.ts"
import { encodeHeader } from "../../src/safetensors/encodeHeader.ts"
import { encodeIndex } from "../../src/safetensors/ShardIndex.ts"
import { tensorBytes } from "../../src/safetensors/Tensor.ts"

export interface Size {
  readonly layers: number
  readonly experts: number
  readonly shardBytes: number
}

/** A model of very many tensors (65 layers of 512 experts: 100 000) in many shards: what planning costs does not depend on their size. */
export const writeManyTensors = (directory: string, { experts, layers, shardBytes }: Size): void =>
  writeHoles(directory, {
    config: { ...samples["qwen3-moe"]!.tiny.config, num_hidden_layers: layers, num_experts: experts },
    fp32: /(?!)/,
    shardBytes
  })

/** Write a sample's files with holes in place of its tensors. */
export const writeHoles = (directory: string, sample: Sample): void => {
  const tensors = sampleTensors(families, sample)
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, "config.json"), JSON.stringify(sample.config))
  for (const [file, held] of Map.groupBy(tensors, (t) => t.file)) {
    const { dataStart, headerBytes } = encodeHeader(held, new Map([["format", "pt"]]))
    const descriptor = openSync(join(directory, file), "w")
    writeSync(descriptor, headerBytes)
    ftruncateSync(descriptor, dataStart + held.reduce((sum, t) => sum + tensorBytes(t), 0))
    closeSync(descriptor)
  }
  const total = tensors.reduce((sum, t) => sum + tensorBytes(t), 0)
  const index = encodeIndex({ metadata: new Map([["total_size", total]]), weightMap: new Map(tensors.map((t) => [t.name, t.file])) })
  writeFileSync(join(directory, "model.safetensors.index.json"), index)
}
