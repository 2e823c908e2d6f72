/**
 * Write one safetensors file. The header fixes every offset, so the data may come in any order and in any pieces. Until
 * `commit` the bytes are in a hidden sibling file; then they are fsynced and renamed to their name in one step.
 */
import { Effect, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import { basename, dirname, join } from "node:path"
import { atPath } from "../document/decode.ts"
import { FormatError, quote } from "../errors.ts"
import { lift, opening } from "../io/attempt.ts"
import { Disk, type DiskError, type DiskFile, openScoped, writeFully } from "../io/Disk.ts"
import { encodeHeader, inLibraryOrder } from "./encodeHeader.ts"
import type { Header } from "./Header.ts"
import type { SafetensorsError } from "./SafetensorsDirectory.ts"
import type { TensorSpec } from "./Tensor.ts"

/** File names have at most 255 bytes; this leaves room for what the temporary one adds. */
const LONGEST_KEPT_NAME = 50

/** A file that is being written. */
export interface SafetensorsWriter {
  readonly header: Header
  /** First byte of a tensor in the file; throws RangeError if the header has no such tensor. */
  readonly offsetOf: (name: string) => number
  /** Write `from` at an absolute offset; rejects with IoError or NoSpace, and with RangeError outside the data. */
  readonly write: (from: Uint8Array, position: number) => Promise<void>
  /** The open temporary file, for callers that bring their own I/O. */
  readonly file: DiskFile
  /** fsync, rename to the final name (replacing what is there), fsync the directory. */
  readonly commit: Effect.Effect<void, DiskError>
}

/**
 * Start a file: its header is written and its length set. `header` comes from {@link encodeHeader}, or from
 * {@link parseHeader} to reproduce a source shard byte for byte.
 *
 * If the scope closes without a commit, nothing is left. The mode of the file follows the umask.
 */
export const createSafetensors = (
  path: string,
  header: Header
): Effect.Effect<SafetensorsWriter, DiskError, Disk | Scope.Scope> =>
  Effect.gen(function*() {
    const disk = yield* Disk
    const directory = dirname(path)
    // A sibling, so that the rename stays within one file system.
    const partial = join(directory, `.${basename(path).slice(0, LONGEST_KEPT_NAME)}.${randomBytes(6).toString("hex")}.partial`)
    let committed = false
    yield* Effect.addFinalizer(() => committed ? Effect.void : Effect.promise(() => disk.remove(partial).catch(() => {})))
    const file = yield* openScoped(disk, partial, "create")
    yield* lift(async () => {
      await writeFully(file, header.headerBytes, 0)
      await file.truncate(header.fileSize)
    })
    const offsets = new Map(header.tensors.map(({ begin, name }) => [name, begin]))
    return {
      header,
      file,
      offsetOf: (name) => {
        const offset = offsets.get(name)
        if (offset === undefined) throw new RangeError(`no tensor ${quote(name)} in this file`)
        return offset
      },
      write: async (from, position) => {
        if (position < header.dataStart || position + from.byteLength > header.fileSize) {
          throw new RangeError(`bytes ${position}..${position + from.byteLength} are outside the data of ${quote(path)}`)
        }
        await writeFully(file, from, position)
      },
      commit: lift(async () => {
        await file.sync()
        await disk.rename(partial, path)
        committed = true
        await disk.syncDirectory(directory)
      })
    }
  })

/** A tensor to be written: row-major, little endian. */
export interface TensorToWrite extends TensorSpec {
  readonly data: Uint8Array
}

/**
 * Write a whole file from memory, in the order and with the bytes of the safetensors library (`save_file`). An existing
 * file is replaced in one step.
 *
 * @throws InvalidFile `safetensors/data-length` if data and shape disagree, or what {@link encodeHeader} refuses; IoError, NoSpace.
 *
 * @example
 * yield* writeSafetensors("bias.safetensors", [{ name: "b", dtype: "U8", shape: [2], data: Uint8Array.of(1, 2) }])
 */
export const writeSafetensors = (
  path: string,
  tensors: Iterable<TensorToWrite>,
  metadata?: ReadonlyMap<string, string>
): Effect.Effect<Header, SafetensorsError, Disk> =>
  Effect.scoped(Effect.gen(function*() {
    const ordered = inLibraryOrder(tensors)
    const header = yield* opening(async () => atPath(path, () => layOut(ordered, metadata)))
    const writer = yield* createSafetensors(path, header)
    for (const { data, name } of ordered) yield* lift(() => writer.write(data, writer.offsetOf(name)))
    yield* writer.commit
    return header
  }))

const layOut = (ordered: ReadonlyArray<TensorToWrite>, metadata: ReadonlyMap<string, string> | undefined): Header => {
  const header = encodeHeader(ordered, metadata)
  header.tensors.forEach(({ begin, end, name }, i) => {
    const given = ordered[i]!.data.byteLength
    if (given === end - begin) return
    throw new FormatError("safetensors/data-length", `${given} bytes of data, the shape needs ${end - begin}`, { tensor: name })
  })
  return header
}
