/**
 * A file system in memory that behaves as badly as a real one may: transfers are short, direct I/O insists on alignment or is
 * refused, any call can be made to fail. It counts what is open.
 */
import { Effect, Layer } from "effect"
import { IoError } from "../../src/errors.ts"
import { Disk, type DiskCalls, type DiskFile, type FileInfo, identified } from "../../src/io/Disk.ts"

type Call = "open" | "read" | "write" | "truncate" | "sync" | "info" | "close"

export interface Behaviour {
  /** Largest transfer of one call, in bytes. */
  readonly transfer?: number
  /** What direct I/O does: works, is refused when opening, or is refused when transferring. */
  readonly direct?: "works" | "refused" | "refused late"
  /** Throws to make a call fail; may wait. */
  readonly before?: (call: Call, path: string, position: number) => void | Promise<void>
}

const PAGE = 4096

export class MemoryDisk {
  readonly files = new Map<string, Uint8Array>()
  readonly synced = new Set<string>()
  readonly calls: Array<{ readonly call: Call; readonly path: string; readonly bytes: number; readonly direct: boolean }> = []
  open = 0
  mostOpen = 0
  readonly #behaviour: Behaviour

  constructor(behaviour: Behaviour = {}) {
    this.#behaviour = behaviour
  }

  /** Run an effect on this disk. */
  run<A, E>(effect: Effect.Effect<A, E, Disk>, options?: Effect.RunOptions): Promise<A> {
    return Effect.runPromise(Effect.provide(effect, this.layer), options)
  }

  /** Only what the engine calls. */
  get layer(): Layer.Layer<Disk> {
    const calls: Pick<DiskCalls, "lstat" | "open"> = {
      open: (path, mode, { direct = false } = {}) => this.#open(path, mode, direct),
      lstat: async (path) => this.#info(path)
    }
    return Layer.succeed(Disk, calls as DiskCalls)
  }

  async #open(path: string, mode: string, direct: boolean): Promise<DiskFile> {
    await this.#called("open", path, 0, 0, direct)
    if (direct && this.#behaviour.direct === "refused") throw refused(path, "open")
    if (mode === "create") {
      if (this.files.has(path)) throw new IoError({ path, operation: "open", errno: "EEXIST" })
      this.files.set(path, new Uint8Array(0))
    }
    if (!this.files.has(path)) throw new IoError({ path, operation: "open", errno: "ENOENT" })
    this.mostOpen = Math.max(this.mostOpen, ++this.open)
    return this.#file(path, direct)
  }

  #file(path: string, direct: boolean): DiskFile {
    const bytes = () => this.files.get(path)!
    const check = (memory: Uint8Array, position: number, operation: string) => {
      if (!direct) return
      const aligned = position % PAGE === 0 && memory.byteOffset % PAGE === 0 && memory.byteLength % PAGE === 0
      if (!aligned || this.#behaviour.direct === "refused late") throw refused(path, operation)
    }
    const limit = (n: number) => {
      const most = this.#behaviour.transfer ?? n
      return Math.min(n, direct ? Math.max(PAGE, most - most % PAGE) : most)
    }
    let closed = false
    return {
      path,
      read: async (into, position) => {
        check(into, position, "read")
        const n = Math.max(0, Math.min(limit(into.byteLength), bytes().byteLength - position))
        await this.#called("read", path, position, n, direct)
        if (closed) throw new IoError({ path, operation: "read", errno: "EBADF" })
        into.set(bytes().subarray(position, position + n))
        return n
      },
      write: async (from, position) => {
        check(from, position, "write")
        const n = limit(from.byteLength)
        await this.#called("write", path, position, n, direct)
        if (closed) throw new IoError({ path, operation: "write", errno: "EBADF" })
        this.#resize(path, Math.max(bytes().byteLength, position + n))
        bytes().set(from.subarray(0, n), position)
        return n
      },
      truncate: async (size) => {
        await this.#called("truncate", path, size, 0, direct)
        this.#resize(path, size)
      },
      sync: async () => {
        await this.#called("sync", path, 0, 0, direct)
        this.synced.add(path)
      },
      info: async () => {
        await this.#called("info", path, 0, 0, direct)
        return this.#info(path)
      },
      close: async () => {
        if (closed) return
        closed = true
        this.open--
        await this.#called("close", path, 0, 0, direct)
      }
    }
  }

  #info(path: string): FileInfo {
    const bytes = this.files.get(path)
    if (!bytes) throw new IoError({ path, operation: "stat", errno: "ENOENT" })
    return identified({ kind: "file", size: bytes.byteLength, dev: 0, ino: 0, mtimeNs: 0n, ctimeNs: 0n })
  }

  #resize(path: string, size: number): void {
    const old = this.files.get(path)!
    if (old.byteLength === size) return
    const grown = new Uint8Array(size)
    grown.set(old.subarray(0, size))
    this.files.set(path, grown)
  }

  async #called(call: Call, path: string, position: number, bytes: number, direct: boolean): Promise<void> {
    this.calls.push({ call, path, bytes, direct })
    await this.#behaviour.before?.(call, path, position)
  }
}

const refused = (path: string, operation: string): IoError => new IoError({ path, operation, errno: "EINVAL" })

export const diskWith = (files: ReadonlyMap<string, Uint8Array>, behaviour: Behaviour = {}): MemoryDisk => {
  const disk = new MemoryDisk(behaviour)
  for (const [path, bytes] of files) disk.files.set(path, bytes)
  return disk
}
