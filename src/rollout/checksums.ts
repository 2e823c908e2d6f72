/** Checksums of tensors, as versions of weights name them. XXH3-128 is written; the others are read as well. */
import { createAdler32, createBLAKE3, createXXHash128 } from "hash-wasm"
import { byCodePoint } from "../document/byCodePoint.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"

/** What takes in bytes and gives their sum. */
export interface Hasher {
  /** Forget what was taken in. */
  readonly init: () => Hasher
  readonly update: (bytes: Uint8Array) => Hasher
  readonly digest: (output: "hex") => string
  /** What it is after the bytes taken in so far, for any hasher of the format to go on from. */
  readonly save: () => Uint8Array
  readonly load: (state: Uint8Array) => Hasher
}

export type ChecksumFormat = "xxh3-128" | "blake3" | "adler32"

const MAKERS: Readonly<Record<ChecksumFormat, () => Promise<Hasher>>> = { "xxh3-128": () => createXXHash128(), blake3: () => createBLAKE3(), adler32: () => createAdler32() }

export const CHECKSUM: ChecksumFormat = "xxh3-128"

export const isChecksumFormat = (name: string): name is ChecksumFormat => Object.hasOwn(MAKERS, name)

/** Hashers of one format, used again and again: each is a WebAssembly instance. */
export class Hashers {
  readonly #free: Array<Hasher> = []
  readonly #format: ChecksumFormat

  constructor(format: ChecksumFormat = CHECKSUM) {
    this.#format = format
  }

  /** A hasher that has seen nothing yet. */
  async take(): Promise<Hasher> {
    return (this.#free.pop() ?? await MAKERS[this.#format]()).init()
  }

  /** The sum in hexadecimal digits; the hasher is free again. */
  finish(hasher: Hasher): string {
    const sum = hasher.digest("hex")
    this.#free.push(hasher)
    return sum
  }

  async of(bytes: Uint8Array): Promise<string> {
    return this.finish((await this.take()).update(bytes))
  }
}

/** What a version says of one tensor. */
export interface SummedTensor {
  readonly dtype: DType
  readonly shape: Shape
  /** Of all bytes. */
  readonly checksum: string
}

export const layoutText = ({ dtype, shape }: Pick<SummedTensor, "dtype" | "shape">): string => `${dtype} [${shape.join(",")}]`

/** One sum of a whole model: XXH3-128 of a line for each tensor, by name in code point order. */
export const stateChecksum = (tensors: ReadonlyMap<string, SummedTensor>): Promise<string> => {
  const lines = [...tensors].sort(([a], [b]) => byCodePoint(a, b)).map(([name, tensor]) => `${JSON.stringify(name)} ${layoutText(tensor)} ${tensor.checksum}\n`)
  return new Hashers().of(Buffer.from(lines.join("")))
}
