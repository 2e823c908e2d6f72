/** One zstd frame a tensor, written and read in pieces. */
import { once } from "node:events"
import { pipeline, Readable } from "node:stream"
import { constants, createZstdCompress, createZstdDecompress, type ZstdCompress, zstdCompressSync, zstdDecompressSync } from "node:zlib"
import { FormatError } from "../errors.ts"

/** What receivers of published versions have been fed with; higher levels cost more than they save. */
const LEVEL = 1
const OUTPUT_CHUNK = 256 << 10

/** Compresses one frame. What is given may be written to again when the promise resolves. */
export class FrameWriter {
  readonly #stream: ZstdCompress
  #failed: Error | undefined

  /** `size`: bytes that will be given in all; `take` gets the frame in pieces that are its own. */
  constructor(size: number, take: (bytes: Uint8Array) => void) {
    this.#stream = createZstdCompress({ pledgedSrcSize: size, chunkSize: OUTPUT_CHUNK, params: { [constants.ZSTD_c_compressionLevel]: LEVEL } })
    this.#stream.on("data", take)
    this.#stream.on("error", (error) => { this.#failed = error })
  }

  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failed) return reject(this.#failed)
      this.#stream.write(bytes, (error) => (error ? reject(error) : resolve()))
    })
  }

  async end(): Promise<void> {
    if (this.#failed) throw this.#failed
    this.#stream.end()
    await once(this.#stream, "end")
  }

  destroy(): void {
    this.#stream.destroy()
  }
}

/** Up to here the frame is made, or undone, in one call: a stream costs more than the work. */
export const ONE_CALL = 1 << 20

/** A whole frame of few bytes. */
export const packedAtOnce = (bytes: Uint8Array): Uint8Array => zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } })

const isZstdError = (error: unknown): boolean => typeof (error as { code?: unknown }).code === "string" && (error as { code: string }).code.startsWith("ZSTD_")

/**
 * What a frame holds, in pieces: exactly so many bytes, or no more.
 *
 * @throws FormatError `rollout/frame` for a frame that is none, or holds more or less.
 */
export const unpacked = async function*(frame: AsyncIterable<Uint8Array>, size: { readonly exactly: number } | { readonly most: number }): AsyncGenerator<Uint8Array, void> {
  const limit = "exactly" in size ? size.exactly : size.most
  const stream = createZstdDecompress({ chunkSize: 1 << 20 })
  let done = 0
  try {
    pipeline(Readable.from(frame, { objectMode: true, highWaterMark: 2 }), stream, () => {})
    for await (const bytes of stream as AsyncIterable<Uint8Array>) {
      done += bytes.byteLength
      if (done > limit) throw new FormatError("rollout/frame", `the zstd frame holds more than ${limit} bytes`)
      yield bytes
    }
  } catch (error) {
    throw isZstdError(error) ? new FormatError("rollout/frame", "is no complete zstd frame") : error
  } finally {
    stream.destroy()
  }
  if ("exactly" in size && done !== limit) throw new FormatError("rollout/frame", `the zstd frame holds ${done} bytes, the tensor has ${limit}`)
}

/** The same of a frame that is there as a whole, for a tensor of at most {@link ONE_CALL} bytes. */
export const unpackedAtOnce = (frame: Uint8Array, size: number): Uint8Array => {
  try {
    const bytes = zstdDecompressSync(frame, { maxOutputLength: Math.max(1, size), chunkSize: Math.max(64, size) })
    if (bytes.byteLength !== size) throw new FormatError("rollout/frame", `the zstd frame holds ${bytes.byteLength} bytes, the tensor has ${size}`)
    return bytes
  } catch (error) {
    if ((error as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE") throw new FormatError("rollout/frame", `the zstd frame holds more than ${size} bytes`)
    throw isZstdError(error) ? new FormatError("rollout/frame", "is no complete zstd frame") : error
  }
}
