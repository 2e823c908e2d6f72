/**
 * Handles that go stale: NFS answers `ESTALE` where a server was restarted or has failed over. What is at the path is opened again.
 * Whether that is still the same file, those find out who compare it with what it was (identity.ts).
 */
import { setTimeout as pause } from "node:timers/promises"
import type { OpenOptions } from "../store/Store.ts"
import { hasErrno } from "../store/present.ts"
import type { DiskCalls, DiskFile } from "./Disk.ts"

const TRIES = 3
/** Milliseconds; the second one is twice as long. */
const PAUSE = 100

const isStale = (error: unknown): boolean => hasErrno(error, "ESTALE")

const repeated = async <A>(call: () => Promise<A>): Promise<A> => {
  for (let tries = 1;; tries++) {
    try {
      return await call()
    } catch (error) {
      if (tries === TRIES || !isStale(error)) throw error
      await pause(PAUSE * tries)
    }
  }
}

/** A file that is read. */
class ReopenedFile implements Pick<DiskFile, "path" | "read" | "info" | "close"> {
  readonly path: string
  readonly #open: () => Promise<DiskFile>
  #file: DiskFile
  /** Once for all calls that met the same handle. */
  #opening: Promise<void> | undefined

  constructor(file: DiskFile, open: () => Promise<DiskFile>) {
    this.path = file.path
    this.#file = file
    this.#open = open
  }

  readonly read: DiskFile["read"] = (into, position) => this.#call((file) => file.read(into, position))
  readonly info: DiskFile["info"] = () => this.#call((file) => file.info())
  readonly close: DiskFile["close"] = () => this.#file.close()

  #call<A>(call: (file: DiskFile) => Promise<A>): Promise<A> {
    return repeated(async () => {
      const used = this.#file
      try {
        return await call(used)
      } catch (error) {
        if (isStale(error) && this.#file === used) await (this.#opening ??= this.#reopen(used))
        throw error
      }
    })
  }

  async #reopen(stale: DiskFile): Promise<void> {
    try {
      this.#file = await this.#open()
      await stale.close().catch(() => {})
    } finally {
      this.#opening = undefined
    }
  }
}

/** The same calls, of which those that look and read meet no stale handle that opening again can mend. */
export const reopening = (calls: DiskCalls): DiskCalls => ({
  ...calls,
  list: (path) => repeated(() => calls.list(path)),
  stat: (path) => repeated(() => calls.stat(path)),
  lstat: (path) => repeated(() => calls.lstat(path)),
  realpath: (path) => repeated(() => calls.realpath(path)),
  open: async (path, mode, options?: OpenOptions) => {
    const open = (): Promise<DiskFile> => calls.open(path, mode, options)
    const file = await repeated(open)
    if (mode !== "read") return file
    const { close, info, read } = new ReopenedFile(file, open)
    return { ...file, read, info, close }
  }
})
