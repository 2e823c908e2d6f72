/** A Hugging Face directory in parts, each of which a case may replace or spoil before it is put together. */
import { type Architecture, type Config, configOf, tensorsOf, type ToyTensor } from "./Toy.ts"
import type { FileSet, Node } from "./FileSet.ts"

export type Json = unknown

/** An entry of a header as it will be printed; a case may put anything in its place. */
export type HeaderEntry = { readonly dtype: Json; readonly shape: Json; readonly data_offsets: Json }

export interface Shard {
  readonly file: string
  readonly tensors: ReadonlyArray<ToyTensor>
  readonly metadata?: Json
  /** Change the parsed header before it is printed. */
  readonly entries?: (header: Record<string, Json>) => Record<string, Json>
  /** Change the printed header. */
  readonly text?: (header: string) => string | Uint8Array
  /** Pad the header with spaces to a multiple of this. Default 8. */
  readonly align?: number
  /** Change the finished file. */
  readonly bytes?: (file: Buffer) => Node
}

export interface Hf {
  readonly config: Config
  /** In place of the printed config. */
  readonly configFile?: Node | undefined
  readonly shards: ReadonlyArray<Shard>
  /** `weight_map` and `metadata` before they are printed; absent: no index. */
  readonly index?: ((index: Record<string, Json>) => Json) | undefined
  readonly indexFile?: (text: string) => Node
  readonly indexName?: string
  readonly others?: ReadonlyArray<readonly [string, Node]>
  readonly without?: ReadonlyArray<string>
}

/** Header and data of one file. */
export const safetensors = ({ align = 8, bytes, entries, metadata, tensors, text }: Omit<Shard, "file">): Node => {
  let at = 0
  const header: Record<string, Json> = Object.create(null) as Record<string, Json>
  if (metadata !== undefined) header["__metadata__"] = metadata
  for (const { data, dtype, name, shape } of tensors) header[name] = { dtype, shape, data_offsets: [at, at += data.length] }
  const printed = JSON.stringify(entries ? entries(header) : header)
  const changed = text ? text(printed) : printed
  const json = typeof changed === "string" ? Buffer.from(changed) : Buffer.from(changed)
  const padded = Buffer.concat([json, Buffer.alloc((align - json.length % align) % align, " ")])
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(padded.length))
  const file = Buffer.concat([length, padded, ...tensors.map((t) => t.data)])
  return bytes ? bytes(file) : file
}

export const filesOf = ({ config, configFile, index, indexFile, indexName = "model.safetensors.index.json", others = [], shards, without = [] }: Hf): FileSet => {
  const files = new Map<string, Node>()
  files.set("config.json", configFile ?? Buffer.from(JSON.stringify(config, undefined, 2)))
  for (const shard of shards) files.set(shard.file, safetensors(shard))
  if (index) {
    const weightMap = Object.fromEntries(shards.flatMap((s) => s.tensors.map((t) => [t.name, s.file])))
    const total = shards.reduce((sum, s) => s.tensors.reduce((n, t) => n + t.data.length, sum), 0)
    const text = JSON.stringify(index({ metadata: { total_size: total }, weight_map: weightMap }), undefined, 2)
    files.set(indexName, indexFile ? indexFile(text) : Buffer.from(text))
  }
  for (const [name, node] of others) files.set(name, node)
  for (const name of without) files.delete(name)
  return files
}

export const SINGLE = "model.safetensors"
export const shardName = (i: number, of: number): string =>
  `model-${String(i).padStart(5, "0")}-of-${String(of).padStart(5, "0")}.safetensors`

/** A sound model in one file. */
export const single = (architecture: Architecture, change: Config = {}): Hf => {
  const config = configOf(architecture, change)
  return { config, shards: [{ file: SINGLE, tensors: tensorsOf(config), metadata: { format: "pt" } }] }
}

/** A sound model in `count` shards with an index. */
export const sharded = (architecture: Architecture, count = 2, change: Config = {}): Hf => {
  const config = configOf(architecture, change)
  const tensors = tensorsOf(config)
  const per = Math.ceil(tensors.length / count)
  return {
    config,
    shards: Array.from({ length: count }, (_, i) => ({
      file: shardName(i + 1, count),
      tensors: tensors.slice(i * per, (i + 1) * per),
      metadata: { format: "pt" }
    })),
    index: (index) => index
  }
}

/** `hf` with its shard number `at` changed. */
export const withShard = (hf: Hf, change: Partial<Shard>, at = 0): Hf => ({
  ...hf,
  shards: hf.shards.map((shard, i) => (i === at ? { ...shard, ...change } : shard))
})

/** `hf` with the tensors of its shard number `at` changed. */
export const withTensors = (hf: Hf, change: (tensors: ReadonlyArray<ToyTensor>) => ReadonlyArray<ToyTensor>, at = 0): Hf =>
  withShard(hf, { tensors: change(hf.shards[at]!.tensors) }, at)

/** `hf` with one tensor changed. */
export const withTensor = (hf: Hf, name: string, change: (tensor: ToyTensor) => ToyTensor): Hf => ({
  ...hf,
  shards: hf.shards.map((shard) => ({ ...shard, tensors: shard.tensors.map((t) => (t.name === name ? change(t) : t)) }))
})
