/** The files that are read: opened once, a bounded number of them at a time, by direct I/O where asked and possible. */
import { IoError } from "../../errors.ts"
import { readFully } from "../../store/Store.ts"
import type { Store, StoredFile } from "../../store/Store.ts"
import { PAGE, roundDown, roundUp } from "./Arena.ts"
import type { IoWays } from "./IoWays.ts"
import type { Turn, Ways } from "./Ways.ts"

/** Far below the usual limit of 1024 descriptors per process. */
const MOST_OPEN = 64

/** Enough bytes that copying them shows, few enough that asking costs nothing against reading the file. */
const PROBE = 256 * 1024
const PROBES = 9

/**
 * Bytes per millisecond. The page cache gives twice this or more through Node, one disk rarely half of it (docs/performance.md, "What was
 * tried": a source read buffered or direct by measurement).
 */
const WARM = 1.5e6

interface Handle {
  readonly file: Promise<StoredFile>
  users: number
}

/** How a block's ranges are read. */
export interface Reading {
  /** The files of which this block is read past the page cache. */
  readonly direct: ReadonlySet<string>
  /** All of it is read, or that has failed. */
  readonly end: () => Promise<void>
}

const UNBOUND: Reading = { direct: new Set(), end: async () => {} }

export class SourceFiles {
  readonly #store: Store
  readonly #ways: IoWays
  /** Least recently used first. */
  readonly #open = new Map<string, Handle>()
  /** Ways in which files are read that wait for a disk, undefined for others. */
  readonly #cold = new Map<string, Promise<Ways | undefined>>()
  /** Files that no direct I/O can read. */
  readonly #refused = new Set<string>()
  readonly #closing = new Set<Promise<void>>()
  bytesRead = 0

  constructor(store: Store, ways: IoWays) {
    this.#store = store
    this.#ways = ways
  }

  /** Wait until `bytes` of a block may be read from these files. `repeated`: the same bytes will be asked for again soon. */
  async begin(paths: ReadonlySet<string>, bytes: number, repeated: boolean): Promise<Reading> {
    if (repeated && this.#ways.mode !== "direct") return UNBOUND
    const bySystem = new Map<Ways, Array<string>>()
    for (const path of paths) {
      const ways = await this.#waysOf(path)
      if (ways) bySystem.set(ways, [...bySystem.get(ways) ?? [], path])
    }
    const direct = new Set<string>()
    const turns: Array<Turn> = []
    // Always in the same order: of two blocks that read from two file systems none waits for the other.
    for (const [ways, own] of [...bySystem].sort(([a], [b]) => a.order - b.order)) {
      const turn = await ways.take(Math.ceil(bytes * own.length / paths.size))
      turns.push(turn)
      for (const path of own) {
        if (!turn.direct) continue
        if (this.#refused.has(path)) ways.refuse()
        else direct.add(path)
      }
    }
    return { direct, end: async () => { for (const turn of turns) await turn.end() } }
  }

  #waysOf(path: string): Promise<Ways | undefined> {
    let found = this.#cold.get(path)
    if (found === undefined) {
      found = this.#ways.source(this.#store, path).then(async (ways) => (ways.isFixed || await this.#isCold(path) ? ways : undefined))
      this.#cold.set(path, found)
    }
    return found
  }

  /**
   * Read the bytes [start, end) of a file to where `start` lies in `room`, which holds the whole pages around them, page-aligned.
   */
  async read(path: string, start: number, end: number, room: Uint8Array, direct: boolean): Promise<void> {
    const first = roundDown(start, PAGE)
    if (direct && !this.#refused.has(path)) {
      if (await this.#readDirect(path, first, end, room)) return
      this.#refused.add(path)
    }
    await this.readInto(path, room.subarray(start - first, end - first), start)
  }

  /** A buffered read to anywhere. */
  async readInto(path: string, into: Uint8Array, position: number): Promise<void> {
    await this.#using(path, false, (file) => readFully(file, into, position))
    this.bytesRead += into.byteLength
  }

  /**
   * Does reading this file wait for a disk? Found by timing a few buffered reads all over it; most of them must be slow, since
   * some may be delayed by other work, and some be in the page cache by chance.
   */
  async #isCold(path: string): Promise<boolean> {
    let cold = false
    await this.#using(path, false, async (file) => {
      if (file.remote) return
      const { size } = await file.info()
      if (size < PROBES * PROBE * 4) return
      const into = new Uint8Array(PROBE)
      const times: Array<number> = []
      for (let i = 0; i < PROBES; i++) {
        const start = performance.now()
        await readFully(file, into, Math.floor((size - PROBE) * (i + 1) / (PROBES + 1)))
        times.push(performance.now() - start)
      }
      times.sort((a, b) => a - b)
      cold = times[2]! > PROBE / WARM
    })
    return cold
  }

  async close(): Promise<void> {
    for (const handle of this.#open.values()) this.#close(handle)
    this.#open.clear()
    await Promise.all(this.#closing)
  }

  /** False if the file system refuses. */
  async #readDirect(path: string, first: number, end: number, room: Uint8Array): Promise<boolean> {
    try {
      await this.#using(path, true, async (file) => {
        const wanted = roundUp(end, PAGE) - first
        let done = await file.read(room.subarray(0, wanted), first)
        // A short read ends at the end of the file, or at some page.
        while (done < end - first && done > 0 && done % PAGE === 0) {
          const n = await file.read(room.subarray(done, wanted), first + done)
          if (n === 0) break
          done += n
        }
        if (done < end - first) await this.readInto(path, room.subarray(done, end - first), first + done)
        else this.bytesRead += done
      })
      return true
    } catch (error) {
      if (isRefusal(error)) return false
      throw error
    }
  }

  async #using(path: string, direct: boolean, use: (file: StoredFile) => Promise<void>): Promise<void> {
    const key = `${direct ? "direct" : "buffered"}:${path}`
    const handle = this.#open.get(key) ?? { file: this.#store.open(path, "read", { direct }), users: 0 }
    this.#open.delete(key)
    this.#open.set(key, handle)
    handle.users++
    try {
      await use(await handle.file)
    } finally {
      handle.users--
      this.#evict()
    }
  }

  #evict(): void {
    for (const [key, handle] of this.#open) {
      if (this.#open.size <= MOST_OPEN) return
      if (handle.users > 0) continue
      this.#open.delete(key)
      this.#close(handle)
    }
  }

  #close(handle: Handle): void {
    const closing = handle.file.then((file) => file.close()).catch(() => {}).finally(() => this.#closing.delete(closing))
    this.#closing.add(closing)
  }
}

/** The file system knows no direct I/O, or wants other alignment than ours. */
export const isRefusal = (error: unknown): boolean =>
  error instanceof IoError && (error.errno === "EINVAL" || error.errno === "EOPNOTSUPP" || error.errno === "ENOTSUP")
