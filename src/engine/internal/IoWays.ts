/** How the files of a command are read and written: the ways of each file system that it meets, found out while it works. */
import { Context } from "effect"
import { dirname } from "node:path"
import type { FileSystem, Store } from "../../store/Store.ts"
import { sameWay, type SeenWay, Trials, type Way, Ways } from "./Ways.ts"

/**
 * `direct`: past the page cache; files and file systems that refuse it are read and written buffered. `buffered`: through the page cache.
 * `auto`: whichever is faster here, found out on the way; what the page cache holds already is read from it. The bytes are the same.
 */
export type IoMode = "auto" | "direct" | "buffered"

export type IoSide = "source" | "target"

/** What was seen of one side of a file system, and the way that was used in the end. */
export interface ObservedIo {
  readonly side: IoSide
  readonly fileSystem: FileSystem
  readonly used: Way
  /** An earlier run had seen it too. */
  readonly known: boolean
  readonly ways: ReadonlyArray<SeenWay>
}

/** What earlier runs saw, by side and the file system's key. */
export type KnownIo = (side: IoSide, key: string) => ReadonlyArray<SeenWay>

/** What nobody can tell the file system of is read and written as if it were in memory: there is nothing to find out. */
const UNKNOWN: FileSystem = { key: "", shown: "an unknown file system", inMemory: true }

/**
 * Blocks in flight past the page cache, as many as there are, then one; a single buffered reader is what the kernel's reading ahead is made
 * for. Buffered writes go into a file one after the other in any case: into memory several files at a time, each by another core; a disk
 * takes one.
 */
const waysOf = (side: IoSide, mode: IoMode, inMemory: boolean, most: number): ReadonlyArray<Way> => {
  const writing = side === "target"
  const buffered: Way = { direct: false, inFlight: writing && !inMemory ? 1 : most }
  if (mode === "buffered" || (mode === "auto" && inMemory)) return [buffered]
  const direct: Way = { direct: true, inFlight: most }
  if (mode === "direct") return [direct]
  return [direct, buffered, { ...direct, inFlight: 1 }, { ...buffered, inFlight: 1 }]
    .filter((way, i, all) => all.findIndex((other) => sameWay(other, way)) === i)
}

interface Side {
  readonly side: IoSide
  readonly fileSystem: FileSystem
  readonly ways: Ways
  readonly known: boolean
}

/** The ways of one mode. */
export class IoWays {
  readonly mode: IoMode
  readonly #inFlight: number
  readonly #known: KnownIo
  readonly #trials = new Trials()
  readonly #fileSystems = new Map<string, Promise<FileSystem>>()
  readonly #sides = new Map<string, Side>()

  constructor(mode: IoMode, inFlight: number, known: KnownIo = () => []) {
    this.mode = mode
    this.#inFlight = inFlight
    this.#known = known
  }

  /** How a file is read. */
  async source(store: Store, path: string): Promise<Ways> {
    return this.#of("source", await this.#fileSystem(store, dirname(path)))
  }

  /** How files of a directory are written. */
  async target(store: Store, directory: string): Promise<Ways> {
    return this.#of("target", await this.#fileSystem(store, directory))
  }

  /** What was seen so far; nothing of sides where there was nothing to find out. */
  get observed(): ReadonlyArray<ObservedIo> {
    return [...this.#sides.values()]
      .filter(({ ways }) => ways.seen.length > 0)
      .map(({ fileSystem, known, side, ways }): ObservedIo => ({ side, fileSystem, used: ways.best, known, ways: ways.seen }))
      .sort((a, b) => a.side.localeCompare(b.side))
  }

  #of(side: IoSide, fileSystem: FileSystem): Ways {
    const key = `${side} ${fileSystem.key}`
    let found = this.#sides.get(key)
    if (found === undefined) {
      const known = this.#known(side, fileSystem.key)
      const ways = new Ways(waysOf(side, this.mode, fileSystem.inMemory, this.#inFlight), { order: this.#sides.size, known, trials: this.#trials })
      this.#sides.set(key, found = { side, fileSystem, ways, known: known.length > 0 })
    }
    return found.ways
  }

  /** Asked once for each directory. */
  #fileSystem(store: Store, directory: string): Promise<FileSystem> {
    let found = this.#fileSystems.get(directory)
    if (found === undefined) {
      // Whatever keeps it from being told: the files themselves say what is wrong.
      const told = Promise.resolve(store.fileSystem?.(directory)).catch(() => undefined)
      this.#fileSystems.set(directory, found = told.then((system) => system ?? UNKNOWN))
    }
    return found
  }
}

/** What is found out while a command runs, however often it comes to the engine, and what was known before. */
export class IoRecord {
  readonly #known: KnownIo
  readonly #ways = new Map<string, IoWays>()

  constructor(known: KnownIo = () => []) {
    this.#known = known
  }

  ways(mode: IoMode, inFlight: number): IoWays {
    const key = `${mode} ${inFlight}`
    let found = this.#ways.get(key)
    if (found === undefined) this.#ways.set(key, found = new IoWays(mode, inFlight, this.#known))
    return found
  }

  /** Nothing of sides where there was nothing to find out. */
  get observed(): ReadonlyArray<ObservedIo> {
    return [...this.#ways.values()].flatMap((ways) => ways.observed)
  }
}

/** Provide this to keep what is found out; otherwise every run of the engine begins anew. */
export const IoRecordInUse = Context.Reference<IoRecord | undefined>("megatron-mimo/IoRecord", { defaultValue: () => undefined })
