/** Small models in two files, and states of them that differ in a share of their bytes. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { encodeHeader } from "../../src/safetensors/encodeHeader.ts"
import type { TensorSpec } from "../../src/safetensors/Tensor.ts"

const SHARDS: ReadonlyArray<readonly [string, ReadonlyArray<TensorSpec>]> = [
  ["model-00001-of-00002.safetensors", [{ name: "embed.weight", dtype: "BF16", shape: [40, 24] }, { name: "layers.0.q.weight", dtype: "BF16", shape: [24, 24] }, { name: "empty", dtype: "F32", shape: [0, 4] }]],
  ["model-00002-of-00002.safetensors", [{ name: "layers.0.bias", dtype: "F32", shape: [3] }, { name: "layers.1.q.weight", dtype: "F32", shape: [24, 24] }, { name: "norm\"ü", dtype: "U8", shape: [1001] }]]
]

/** A number from 0 to 1, another at each call, the same in each run. */
export const randomNumbers = (seed: number): () => number => {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

export interface ModelOptions {
  /** Shape of `layers.0.bias`. */
  readonly bias?: ReadonlyArray<number>
}

/** Write the model: all bytes from `seed`. */
export const writeModel = (directory: string, seed: number, { bias = [3] }: ModelOptions = {}): void => {
  mkdirSync(directory, { recursive: true })
  const random = randomNumbers(seed)
  const weightMap: Record<string, string> = {}
  for (const [file, given] of SHARDS) {
    const tensors = given.map((tensor) => (tensor.name === "layers.0.bias" ? { ...tensor, shape: bias } : tensor))
    const { fileSize, headerBytes } = encodeHeader(tensors, new Map([["format", "pt"]]))
    const bytes = Buffer.alloc(fileSize)
    bytes.set(headerBytes)
    for (let i = headerBytes.byteLength; i < fileSize; i++) bytes[i] = Math.floor(random() * 256)
    writeFileSync(join(directory, file), bytes)
    for (const { name } of tensors) weightMap[name] = file
  }
  writeFileSync(join(directory, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: weightMap }))
  writeFileSync(join(directory, "config.json"), JSON.stringify({ architectures: ["Toy"] }))
}

/** The same model with a share of its bytes changed. */
export const writeNext = (from: string, to: string, share: number, seed: number): void => {
  mkdirSync(to, { recursive: true })
  const random = randomNumbers(seed)
  for (const name of readdirSync(from)) {
    if (name.startsWith(".")) continue
    const bytes = readFileSync(join(from, name))
    if (name.endsWith(".safetensors")) {
      const start = 8 + Number(bytes.readBigUInt64LE(0))
      const count = Math.ceil((bytes.length - start) * share)
      for (let i = 0; i < count; i++) bytes[start + Math.floor(random() * (bytes.length - start))]! ^= 1 + Math.floor(random() * 255)
    }
    writeFileSync(join(to, name), bytes)
  }
}

/** SHA-256 of each safetensors file, by name. */
export const digests = (directory: string): Record<string, string> =>
  Object.fromEntries(readdirSync(directory).filter((name) => name.endsWith(".safetensors")).sort().map((name) => [name, createHash("sha256").update(readFileSync(join(directory, name))).digest("hex")]))

export const inode = (path: string): number => statSync(path).ino
