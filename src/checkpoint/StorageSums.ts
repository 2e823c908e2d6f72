/**
 * Are the bytes of the stored tensors those that were saved? Every item has a CRC-32 of its storage, which torch never looks at
 * (pytorch#28858). It is taken here of whatever is read anyway, in whatever order and however often; only what nobody read (the
 * padding of a vocabulary, say) is read for it at the end.
 */
import { z } from "zod"
import { FormatError, type InvalidFile, invalidFile } from "../errors.ts"
import type { Store, StoredFile } from "../store/Store.ts"
import { readFully } from "../store/Store.ts"
import { crc32, crc32Combine } from "../torch/Crc32.ts"

/** The bytes [start, end) of a file, and what they should sum to. */
export interface Storage {
  readonly path: string
  readonly key: string
  readonly start: number
  readonly end: number
  readonly crc32: number
}

/** A part of a storage that was seen, within one {@link BLOCK} of the file. Parts do not overlap. */
interface Seen {
  readonly start: number
  end: number
  crc32: number
}

/** A storage and its index among all those of its file, in their order: what processes that know some of them call it. */
export interface IndexedStorage extends Storage {
  readonly index: number
}

interface WatchedStorage extends IndexedStorage {
  /** What was seen of each block, ascending and joined where parts meet: a storage may be read in 100 000 parts, in any order. */
  readonly blocks: Map<number, Array<Seen>>
  /** Bytes that were not seen. */
  left: number
  /** Once all of it was seen. */
  isRight: boolean | undefined
}

/**
 * Processes that read the same page at the border of their shares have both summed it, and sums cannot be cut afterwards: what one of
 * them saw of that block is read again.
 */
const BLOCK = 1 << 20

const count = z.int().nonnegative()
const crc = z.int().min(0).max(0xffffffff)
/** What one process saw, as plain data: by path, the storages by their index in the order of the file. */
export const seenSchema = z.array(z.object({
  path: z.string(),
  /** Runs of those that are what was saved. */
  right: z.array(z.tuple([count, count])),
  wrong: z.array(count),
  parts: z.array(z.tuple([count, z.array(z.tuple([count, count, crc]))]))
}))
export type SeenStorages = z.infer<typeof seenSchema>

/** The padding that nobody reads is small; so are the pieces it is read in. */
const LARGEST_READ = 1 << 20
/** Of a storage in which a tensor is a small view, more than this is not read for its sum alone: it may be claimed to have terabytes. */
const LARGEST_REST = 2 ** 30

export class StorageSums {
  readonly #byPath = new Map<string, ReadonlyArray<WatchedStorage>>()

  /** Items whose CRC was not computed (0) are left alone. */
  constructor(storages: Iterable<Storage>) {
    const summed = Iterator.from(storages).filter((s) => s.crc32 !== 0 && s.end > s.start)
    for (const [path, own] of Map.groupBy(summed, (s) => s.path)) this.#byPath.set(path, own.sort((a, b) => a.start - b.start).map(watched))
  }

  /** More of them, as {@link within} of another process has them; those that are known stay. For files that are opened afterwards. */
  add(storages: Iterable<IndexedStorage>): void {
    for (const [path, own] of Map.groupBy(storages, (s) => s.path)) {
      const known = this.#byPath.get(path) ?? []
      const indices = new Set(known.map(({ index }) => index))
      const more = own.filter(({ index }) => !indices.has(index)).map((s) => watched(s, s.index))
      if (more.length > 0) this.#byPath.set(path, [...known, ...more].sort((a, b) => a.start - b.start))
    }
  }

  /** Those that have bytes in the range [start, end) of a file. */
  within(path: string, start: number, end: number): ReadonlyArray<IndexedStorage> {
    const storages = this.#byPath.get(path) ?? []
    const found: Array<IndexedStorage> = []
    for (let i = firstAfter(storages, start); i < storages.length && storages[i]!.start < end; i++) {
      const { crc32, end: last, index, key, start: first } = storages[i]!
      found.push({ path, key, start: first, end: last, crc32, index })
    }
    return found
  }

  /** The same store; what is read through it is summed. */
  watch(store: Store): Store {
    return {
      ...store,
      open: async (path, mode, options) => {
        const file = await store.open(path, mode, options)
        const storages = this.#byPath.get(path)
        return storages ? watchedFile(file, storages) : file
      }
    }
  }

  /** What was seen so far. */
  seen(): SeenStorages {
    return [...this.#byPath].map(([path, storages]) => {
      const right: Array<[number, number]> = []
      for (const { index, isRight } of storages) {
        if (isRight !== true) continue
        const last = right.at(-1)
        if (last && last[0] + last[1] === index) last[1]++
        else right.push([index, 1])
      }
      return {
        path,
        right,
        wrong: storages.flatMap(({ index, isRight }) => (isRight === false ? [index] : [])),
        parts: storages.flatMap((storage) => (storage.blocks.size > 0 ? [[storage.index, partsOf(storage).map((s) => [s.start, s.end, s.crc32] as [number, number, number])] as [number, Array<[number, number, number]>]] : []))
      }
    })
  }

  /** Another process saw this of the same storages, or of some of them. */
  absorb(others: SeenStorages): void {
    for (const { parts, path, right, wrong } of others) {
      const storages = this.#byPath.get(path) ?? []
      const judge = (index: number, isRight: boolean): void => {
        const storage = storages[index]
        if (storage && storage.isRight !== false) judged(storage, isRight)
      }
      for (const [first, number] of right) for (let i = first; i < Math.min(first + number, storages.length); i++) judge(i, true)
      for (const index of wrong) judge(index, false)
      for (const [index, own] of parts) {
        const storage = storages[index]
        if (!storage) continue
        const seen = own.map(([start, end, crc32]) => ({ start, end, crc32 })).filter(({ end, start }) => start >= storage.start && start < end && end <= storage.end)
        for (const [block, parts] of Map.groupBy(seen, ({ start }) => Math.floor(start / BLOCK))) keep(storage, block, parts.filter(({ end }) => end <= (block + 1) * BLOCK))
      }
    }
  }

  /** Call when all is read. InvalidFile `checkpoint/crc` for the first storage that is not what it was. */
  async finish(store: Store): Promise<void> {
    for (const [path, storages] of this.#byPath) {
      const incomplete = storages.filter((s) => s.isRight === undefined && s.left <= LARGEST_REST)
      if (incomplete.length > 0) await complete(store, path, incomplete)
      const wrong = storages.find((s) => s.isRight === false)
      if (wrong) throw damaged(wrong)
    }
  }
}

const watched = (storage: Storage, index: number): WatchedStorage => ({ ...storage, index, blocks: new Map(), left: storage.end - storage.start, isRight: undefined })

/** All that was seen, in the order of the file. */
const partsOf = ({ blocks }: WatchedStorage): ReadonlyArray<Seen> => [...blocks].sort(([a], [b]) => a - b).flatMap(([, parts]) => parts)

const judged = (storage: WatchedStorage, isRight: boolean): void => {
  storage.blocks.clear()
  storage.isRight = isRight
}

const damaged = ({ end, key, path, start }: Storage): InvalidFile =>
  invalidFile(path, new FormatError("checkpoint/crc", `the ${end - start} bytes from here on do not match the CRC-32 stored with them: the file was damaged`, {
    tensor: key,
    offset: start
  }))

const watchedFile = (file: StoredFile, storages: ReadonlyArray<WatchedStorage>): StoredFile => ({
  path: file.path,
  info: file.info,
  close: file.close,
  read: async (into, position) => {
    const count = await file.read(into, position)
    for (let i = firstAfter(storages, position); i < storages.length && storages[i]!.start < position + count; i++) {
      add(storages[i]!, into.subarray(0, count), position)
    }
    return count
  }
})

/** Index of the first range that ends after `position`. */
const firstAfter = (ranges: ReadonlyArray<{ readonly end: number }>, position: number): number => {
  let low = 0
  for (let high = ranges.length; low < high;) {
    const middle = (low + high) >>> 1
    if (ranges[middle]!.end <= position) low = middle + 1
    else high = middle
  }
  return low
}

/** Sum what is new of the bytes at `position`. */
const add = (storage: WatchedStorage, bytes: Uint8Array, position: number): void => {
  const to = Math.min(storage.end, position + bytes.byteLength)
  for (let at = Math.max(storage.start, position); at < to && storage.isRight === undefined;) {
    const block = Math.floor(at / BLOCK)
    const stop = Math.min(to, (block + 1) * BLOCK)
    const known = storage.blocks.get(block) ?? []
    const fresh: Array<Seen> = []
    for (let i = firstAfter(known, at); at < stop; i++) {
      const { end = stop, start = stop } = known[i] ?? {}
      const until = Math.min(start, stop)
      if (at < until) fresh.push({ start: at, end: until, crc32: crc32(bytes.subarray(at - position, until - position)) })
      at = Math.min(end, stop)
    }
    keep(storage, block, fresh)
  }
}

/** Of parts of a block in any order, keep those that do not overlap others; when all of the storage was seen, judge it. */
const keep = (storage: WatchedStorage, block: number, fresh: ReadonlyArray<Seen>): void => {
  if (storage.isRight !== undefined || fresh.length === 0) return
  const parts = storage.blocks.get(block) ?? []
  storage.blocks.set(block, parts)
  for (const part of fresh) storage.left -= joined(parts, part)
  if (storage.left === 0) judged(storage, partsOf(storage).reduce((sum, { crc32: next, end, start }) => crc32Combine(sum, next, end - start), 0) === storage.crc32)
}

/** Put a part in its place, joined with those that it meets. Returns the bytes that are new: none of one that overlaps. */
const joined = (parts: Array<Seen>, { crc32: sum, end, start }: Seen): number => {
  const at = firstAfter(parts, start)
  const [before, after] = [parts[at - 1], parts[at]]
  if (after && after.start < end) return 0
  const following = after?.start === end ? after : undefined
  const part = { start, end: following?.end ?? end, crc32: following ? crc32Combine(sum, following.crc32, following.end - end) : sum }
  if (before?.end === start) {
    before.crc32 = crc32Combine(before.crc32, part.crc32, part.end - start)
    before.end = part.end
    if (following) parts.splice(at, 1)
  } else parts.splice(at, following ? 1 : 0, part)
  return end - start
}

/** Read what is missing. */
const complete = async (store: Store, path: string, storages: ReadonlyArray<WatchedStorage>): Promise<void> => {
  const file = await store.open(path, "read")
  try {
    for (const storage of storages) {
      const ends = [...partsOf(storage), { start: storage.end, end: storage.end }]
      let at = storage.start
      for (const { end, start } of ends) {
        while (at < start) {
          const bytes = new Uint8Array(Math.min(LARGEST_READ, start - at))
          await readFully(file, bytes, at)
          add(storage, bytes, at)
          at += bytes.byteLength
        }
        at = Math.max(at, end)
      }
    }
  } finally {
    await file.close()
  }
}
