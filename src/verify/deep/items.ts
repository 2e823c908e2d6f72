/** Checks the stored tensors of a Megatron checkpoint against the CRC-32 that torch writes into each of them (and never reads). */
import { storeInUse } from "../../remote/storeInUse.ts"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { z } from "zod"
import { openCheckpoint } from "../../space/Checkpoint.ts"
import { FormatError, invalidFile } from "../../errors.ts"
import { reading } from "../../io/attempt.ts"
import { readFully } from "../../store/Store.ts"
import type { ChunkView, StoredChunk } from "../../torch/DcpMetadata.ts"
import { rangesOf } from "../../torch/Ranges.ts"
import { crc32 } from "../../torch/Crc32.ts"
import { readTensorItem } from "../../torch/TensorItem.ts"
import { worldProgress } from "../../cluster/progress.ts"
import { currentWorld } from "../../cluster/single.ts"
import { eachUnit } from "../../cluster/World.ts"
import type { Store, StoredFile } from "../../store/Store.ts"
import { blockDamage, type Damage, damageSchema, someOf } from "./Damage.ts"
import type { DeepOptions, DeepReport } from "./DeepReport.ts"

const BUFFER = 4 << 20

interface Item {
  readonly key: string
  readonly chunk: StoredChunk
}

/** In one file. */
const foundSchema = z.object({ damages: z.array(damageSchema), unchecked: z.int() })
type Found = z.infer<typeof foundSchema>

/** Every tensor of the checkpoint, training state included. */
export const deepItems = Effect.fnUntraced(function*(path: string, options: DeepOptions) {
  const store = yield* storeInUse
  const { directory, metadata, notes } = yield* openCheckpoint(path)
  const byFile = new Map<string, Array<Item>>()
  for (const [key, { chunks }] of metadata.tensors) {
    for (const chunk of chunks) {
      const own = byFile.get(chunk.file)
      if (own) own.push({ key, chunk })
      else byFile.set(chunk.file, [{ key, chunk }])
    }
  }
  const files = Array.from(byFile, ([name, items]) => [name, distinct(items)] as const).sort(([a], [b]) => (a < b ? -1 : 1))
  const sizes = files.map(([, items]) => items.reduce((sum, { chunk: { length, view } }) => sum + (view ? view.storage.end - view.storage.start : length), 0))
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  const world = yield* currentWorld
  yield* world.agree("stored tensors", digestOf(files))
  if (world.rank === 0) options.onSize?.(bytes)
  const work = world.work("files", sizes, foundSchema)
  const own: Array<Found> = []
  yield* worldProgress(world, options.progress, (progress) => eachUnit(work, (unit) => reading(async (signal) => {
    const [name, items] = files[unit]!
    // Each its own buffer: what was interrupted may still be read into.
    const found = await checkItems(store, join(directory, name), name, items, new Uint8Array(BUFFER), (n) => {
      signal.throwIfAborted()
      progress(n)
    })
    own.push(found)
    return world.size > 1 ? { ...found, damages: someOf(found.damages) } : found
  })))
  const all = (yield* work.results()) ?? own
  const unchecked = all.reduce((sum, found) => sum + found.unchecked, 0)
  return {
    path,
    against: "items",
    files: byFile.size,
    tensors: metadata.tensors.size,
    bytes,
    damages: all.flatMap(({ damages }) => damages),
    notes: [
      ...notes,
      "it has no checksums of its own: the data of every tensor was compared with the CRC-32 that it was stored with, nothing else",
      ...(unchecked > 0 ? [`${unchecked} stored tensors carry no CRC-32`] : []),
      ...(world.size > 1 ? world.notes() : [])
    ]
  } satisfies DeepReport as DeepReport
})

/** The same in processes that see the same checkpoint. */
const digestOf = (files: ReadonlyArray<readonly [name: string, items: ReadonlyArray<Item>]>): string => {
  const hash = createHash("sha256")
  for (const [name, items] of files) for (const { chunk, key } of items) hash.update(`${JSON.stringify([name, key, chunk.offset, chunk.length])}\n`)
  return hash.digest("hex")
}

interface StoredData {
  readonly begin: number
  readonly end: number
  readonly crc32: number
}

const storageOf = ({ storage: { crc32: sum, end, start } }: ChunkView): StoredData => ({ begin: start, end, crc32: sum })

/** The data of an item. InvalidFile where it is none. */
const dataOf = async (file: StoredFile, path: string, key: string, chunk: StoredChunk): Promise<StoredData> => {
  const { crc32: sum, dataLength, dataOffset } = await readTensorItem(chunk.length, rangesOf(file, chunk.offset)).catch((error: unknown) => {
    if (!(error instanceof FormatError)) throw error
    throw invalidFile(path, new FormatError(error.code, error.message, { tensor: key, offset: chunk.offset + (error.place.offset ?? 0) }))
  })
  const begin = chunk.offset + dataOffset
  return { begin, end: begin + dataLength, crc32: sum }
}

/** Views of one storage are checked by it, once. */
const distinct = (items: ReadonlyArray<Item>): ReadonlyArray<Item> => {
  const seen = new Set<number>()
  return items.filter(({ chunk: { view } }) => {
    if (!view) return true
    const isNew = !seen.has(view.storage.start)
    seen.add(view.storage.start)
    return isNew
  })
}

const checkItems = async (
  store: Store,
  path: string,
  name: string,
  items: ReadonlyArray<Item>,
  buffer: Uint8Array,
  progress: (bytes: number) => void
): Promise<Found> => {
  const damages: Array<Damage> = []
  let unchecked = 0
  const file = await store.open(path, "read")
  try {
    for (const { chunk, key } of [...items].sort((a, b) => a.chunk.offset - b.chunk.offset)) {
      const { begin, crc32: expected, end } = chunk.view ? storageOf(chunk.view) : await dataOf(file, path, key, chunk)
      let crc = 0
      for (let at = begin; at < end; at += BUFFER) {
        const part = buffer.subarray(0, Math.min(BUFFER, end - at))
        await readFully(file, part, at)
        crc = crc32(part, crc)
        progress(part.byteLength)
      }
      // Zero stands for "not computed".
      if (expected === 0 && end > begin) unchecked++
      else if (crc !== expected) {
        const span = { name: key, file: name, begin, end, crc32: "" }
        damages.push(await blockDamage(name, { begin, end, expected, actual: crc }, [span], async () => true))
      }
    }
  } finally {
    await file.close()
  }
  return { damages, unchecked }
}
