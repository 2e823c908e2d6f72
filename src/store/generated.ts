/**
 * Files that are computed instead of stored: the first weights of a projector, drawn from a seed. Every byte is a function of the path,
 * so that any range can be read in any order, by any process.
 */
import { IoError } from "../errors.ts"
import type { Store, StoredFile, StoredInfo } from "./Store.ts"

/** `init:/SEED/DTYPE/INPUT-HIDDEN-OUTPUT`, and a file in it. */
const PATH = /^init:\/(\d{1,10})\/(F32|BF16)\/(\d{1,8})-(\d{1,8})-(\d{1,8})(\/model\.safetensors)?$/

/** Standard deviation of the trainer's first weights; of a layer that leads out of a block of one layer, by √2 smaller. */
const STD = 0.02

export interface InitialProjector {
  readonly seed: number
  readonly dtype: "F32" | "BF16"
  readonly input: number
  readonly hidden: number
  readonly output: number
}

const GENERATED_FILE = "model.safetensors"

/** The path of the folder that holds these weights. */
export const initialPath = ({ dtype, hidden, input, output, seed }: InitialProjector): string => `init:/${seed}/${dtype}/${input}-${hidden}-${output}`

/** Is it such a path? */
export const isGenerated = (path: string): boolean => path.startsWith("init:")

/** How the values come about, for people. */
export const describeInitial = ({ seed }: InitialProjector): string =>
  `normal values of standard deviation ${STD} (second layer ${STD}/√2), biases 0, from seed ${seed}`

const missing = (path: string): IoError => new IoError({ path, operation: "open", errno: "ENOENT", detail: "is no folder of initial weights" })

const parse = (path: string): { readonly weights: InitialProjector; readonly isFile: boolean } => {
  const found = PATH.exec(path)
  if (!found) throw missing(path)
  const [, seed, dtype, input, hidden, output, file] = found
  return { weights: { seed: Number(seed), dtype: dtype as "F32" | "BF16", input: Number(input), hidden: Number(hidden), output: Number(output) }, isFile: file !== undefined }
}

interface Drawn {
  readonly begin: number
  readonly end: number
  /** 0: all zeros. */
  readonly std: number
  readonly stream: number
}

/** The file's header and where its tensors are. */
const contents = ({ dtype, hidden, input, output }: InitialProjector) => {
  const width = dtype === "F32" ? 4 : 2
  let at = 0
  const tensors: Array<Drawn> = []
  const table: Record<string, unknown> = { __metadata__: { format: "pt" } }
  const add = (name: string, shape: ReadonlyArray<number>, std: number): void => {
    const bytes = shape.reduce((n, extent) => n * extent, width)
    table[name] = { dtype, shape, data_offsets: [at, at + bytes] }
    tensors.push({ begin: at, end: at += bytes, std, stream: tensors.length })
  }
  add("linear_1.bias", [hidden], 0)
  add("linear_1.weight", [hidden, input], STD)
  add("linear_2.bias", [output], 0)
  add("linear_2.weight", [output, hidden], STD / Math.SQRT2)
  const json = JSON.stringify(table)
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.byteLength))
  const header = Buffer.concat([length, text])
  return { header, tensors, size: header.byteLength + at, width }
}

/** A well-mixed 32-bit number for each (seed, stream, index). */
const mixed = (seed: number, stream: number, index: number): number => {
  let h = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(stream + 1, 0xc2b2ae35)
  for (const word of [index >>> 0, Math.floor(index / 2 ** 32)]) {
    h = Math.imul(h ^ word, 0x27d4eb2f)
    h ^= h >>> 15
    h = Math.imul(h, 0x2c1b3c6d)
    h ^= h >>> 12
    h = Math.imul(h, 0x297a2d39)
    h ^= h >>> 15
  }
  return h >>> 0
}

/** Two uniform numbers make a normal one. */
const normal = (seed: number, stream: number, index: number): number => {
  const [u, v] = [(mixed(seed, stream, 2 * index) + 0.5) / 2 ** 32, mixed(seed, stream, 2 * index + 1) / 2 ** 32]
  return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v)
}

const word = new DataView(new ArrayBuffer(4))

/** The bytes of one value, the lowest first, as a number; BF16 to nearest, ties to even. */
const bitsOf = (value: number, dtype: InitialProjector["dtype"]): number => {
  word.setFloat32(0, value)
  const bits = word.getUint32(0)
  return dtype === "F32" ? bits : ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff
}

const fill = (into: Uint8Array, position: number, weights: InitialProjector): number => {
  const { header, size, tensors, width } = contents(weights)
  const n = Math.max(0, Math.min(into.byteLength, size - position))
  const head = header.subarray(position, Math.min(header.byteLength, position + n))
  into.set(head)
  let [bits, of] = [0, -1]
  for (let i = head.byteLength; i < n; i++) {
    const at = position + i - header.byteLength
    const tensor = tensors.find(({ end }) => at < end)!
    const index = Math.floor((at - tensor.begin) / width)
    const element = tensor.begin / width + index
    if (element !== of) [bits, of] = [tensor.std === 0 ? 0 : bitsOf(tensor.std * normal(weights.seed, tensor.stream, index), weights.dtype), element]
    into[i] = (bits >>> (8 * ((at - tensor.begin) % width))) & 0xff
  }
  return n
}

const infoOf = (path: string): StoredInfo => {
  const { isFile, weights } = parse(path)
  return { kind: isFile ? "file" : "directory", size: isFile ? contents(weights).size : 0, identity: path, stamp: path }
}

const attempt = <T>(run: () => T): Promise<T> => new Promise((resolve) => resolve(run()))

/** The store of such paths. */
export const generatedStore: Store = {
  list: (path) => attempt(() => {
    if (parse(path).isFile) throw new IoError({ path, operation: "list", errno: "ENOTDIR", detail: "is a file" })
    return [GENERATED_FILE]
  }),
  stat: (path) => attempt(() => infoOf(path)),
  lstat: (path) => attempt(() => infoOf(path)),
  realpath: (path) => attempt(() => (parse(path), path)),
  open: (path, _, options) => attempt((): StoredFile => {
    const { isFile, weights } = parse(path)
    if (!isFile || options?.direct) throw new IoError({ path, operation: "open", errno: isFile ? "EINVAL" : "EISDIR", detail: "cannot be read like this" })
    return {
      path,
      info: () => attempt(() => infoOf(path)),
      read: (into, position) => attempt(() => fill(into, position, weights)),
      close: () => Promise.resolve()
    }
  })
}
