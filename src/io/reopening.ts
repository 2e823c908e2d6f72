/**
 * Handles that go stale: NFS answers `ESTALE` where a server was restarted or has failed over. What is at the path is opened again.
 * Whether that is still the same file, those find out who compare it with what it was (identity.ts).
 */
import { setTimeout as pause } from "node:timers/promises"
import { hasErrno } from "../store/present.ts"
import type { OpenOptions, Store, StoredFile } from "../store/Store.ts"

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
class ReopenedFile implements StoredFile {
  readonly path: string
  readonly #open: () => Promise<StoredFile>
  #file: StoredFile
  /** Once for all calls that met the same handle. */
  #opening: Promise<void> | undefined

  constructor(file: StoredFile, open: () => Promise<StoredFile>) {
    this.path = file.path
    this.#file = file
    this.#open = open
  }

  readonly read: StoredFile["read"] = (into, position) => this.#call((file) => file.read(into, position))
  readonly info: StoredFile["info"] = () => this.#call((file) => file.info())
  readonly close: StoredFile["close"] = () => this.#file.close()

  #call<A>(call: (file: StoredFile) => Promise<A>): Promise<A> {
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

  async #reopen(stale: StoredFile): Promise<void> {
    try {
      this.#file = await this.#open()
      await stale.close().catch(() => {})
    } finally {
      this.#opening = undefined
    }
  }
}

/** The same calls, of which those that look and read meet no stale handle that opening again can mend. What is written to stays as it is. */
export const reopening = <Calls extends Store>(calls: Calls): Calls => ({
  ...calls,
  list: (path: string) => repeated(() => calls.list(path)),
  stat: (path: string) => repeated(() => calls.stat(path)),
  lstat: (path: string) => repeated(() => calls.lstat(path)),
  realpath: (path: string) => repeated(() => calls.realpath(path)),
  // A disk has more modes than a store.
  open: async (path: string, mode: "read", options?: OpenOptions) => {
    const open = (): Promise<StoredFile> => calls.open(path, mode, options)
    const file = await repeated(open)
    if (mode !== "read") return file
    const { close, info, read } = new ReopenedFile(file, open)
    return { ...file, read, info, close }
  }
})
