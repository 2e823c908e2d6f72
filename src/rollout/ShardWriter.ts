/**
 * Shards of a delta: safetensors files of U8 vectors, each of a length that is known when it ends. Vectors are kept until a shard is full;
 * one that is larger than that gets a file of its own, with room for its header in front.
 */
import { join } from "node:path"
import { type DiskCalls, type DiskFile, writeFully } from "../io/Disk.ts"
import { encodeHeader } from "../safetensors/encodeHeader.ts"
import { LENGTH_BYTES } from "../safetensors/Header.ts"

/** Bytes of vectors that are kept in memory; what is written at once is as large. */
const SHARD_BYTES = 32 << 20
/** No vector is longer, and no checksum: the header of one that is still growing needs at most this much room. */
const LONGEST = 2 ** 50
const LONGEST_SUM = "0".repeat(64)

interface Vector {
  readonly name: string
  readonly checksum: string
  readonly parts: ReadonlyArray<Uint8Array>
  readonly size: number
}

/** The file of one large vector. */
interface OwnFile {
  readonly file: DiskFile
  readonly name: string
  /** Bytes of the header, known when the vector ends. */
  readonly header: number
  position: number
}

/** A shard under the name that it has until all are known. */
export interface WrittenShard {
  readonly file: string
  readonly names: ReadonlyArray<string>
  readonly bytes: number
}

const headerOf = (vectors: ReadonlyArray<Pick<Vector, "name" | "checksum" | "size">>): Uint8Array =>
  encodeHeader(vectors.map(({ name, size }) => ({ name, dtype: "U8" as const, shape: [size] })), new Map(vectors.map((v) => [v.name, v.checksum] as const))).headerBytes

/** JSON may end in spaces. */
const padded = (header: Uint8Array, size: number): Uint8Array => {
  const bytes = new Uint8Array(size).fill(0x20)
  bytes.set(header)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(size - LENGTH_BYTES), true)
  return bytes
}

export class ShardWriter {
  readonly shards: Array<WrittenShard> = []
  readonly #disk: DiskCalls
  readonly #directory: string
  readonly #prefix: string
  #full: Array<Vector> = []
  #fullBytes = 0
  #parts: Array<Uint8Array> = []
  #size = 0
  /** The file of the vector that is too large to be kept. */
  #own: OwnFile | undefined

  /** Files have `prefix` in front of their names. */
  constructor(disk: DiskCalls, directory: string, prefix: string) {
    this.#disk = disk
    this.#directory = directory
    this.#prefix = prefix
  }

  /** The next bytes of the vector; they are copied, as they may lie in a buffer that is much larger. */
  add(bytes: Uint8Array): void {
    this.#parts.push(new Uint8Array(bytes))
    this.#size += bytes.byteLength
  }

  /** Write what is too much to be kept of the vector of that name, which goes on. */
  async room(name: string): Promise<void> {
    if (this.#size < SHARD_BYTES) return
    if (!this.#own) await this.#flush()
    this.#own ??= await this.#begin(name)
    await this.#spill()
  }

  async #begin(vector: string): Promise<OwnFile> {
    const name = this.#nextName()
    const header = headerOf([{ name: vector, checksum: LONGEST_SUM, size: LONGEST }]).byteLength
    return { file: await this.#disk.open(join(this.#directory, name), "create"), name, header, position: header }
  }

  async #spill(): Promise<void> {
    const own = this.#own!
    const parts = this.#parts
    this.#parts = []
    for (const part of parts) {
      await writeFully(own.file, part, own.position)
      own.position += part.byteLength
    }
    this.#size = 0
  }

  #nextName(): string {
    return `${this.#prefix}${this.shards.length}.safetensors`
  }

  /** The vector is complete. */
  async end(name: string, checksum: string): Promise<void> {
    if (this.#own) {
      await this.#spill()
      const { file, header, name: fileName, position } = this.#own
      try {
        await writeFully(file, padded(headerOf([{ name, checksum, size: position - header }]), header), 0)
        await file.sync()
      } finally {
        this.#own = undefined
        await file.close()
      }
      this.shards.push({ file: fileName, names: [name], bytes: position })
      return
    }
    this.#full.push({ name, checksum, parts: this.#parts, size: this.#size })
    this.#fullBytes += this.#size
    this.#parts = []
    this.#size = 0
    if (this.#fullBytes >= SHARD_BYTES) await this.#flush()
  }

  async #flush(): Promise<void> {
    const vectors = this.#full
    if (vectors.length === 0) return
    const name = this.#nextName()
    const bytes = Buffer.concat([headerOf(vectors), ...vectors.flatMap(({ parts }) => parts)])
    const file = await this.#disk.open(join(this.#directory, name), "create")
    try {
      await writeFully(file, bytes, 0)
      await file.sync()
    } finally {
      await file.close()
    }
    this.shards.push({ file: name, names: vectors.map((v) => v.name), bytes: bytes.byteLength })
    this.#full = []
    this.#fullBytes = 0
  }

  /** All vectors are complete. */
  finish(): Promise<void> {
    return this.#flush()
  }

  /** Give up; never fails. */
  async abandon(): Promise<void> {
    await this.#own?.file.close().catch(() => {})
    this.#own = undefined
  }
}
