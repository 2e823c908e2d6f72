/**
 * A lock on a staging folder that needs no cleaning up after a crash. The holder is whoever the highest `lock.N` names, if that
 * process still runs. To take over from a dead one is to create `lock.N+1`, which only one process can; nothing is ever deleted
 * to get in, so two processes that find the same dead holder cannot both succeed.
 *
 * Where nobody can tell whether the holder runs (another host, another container), its heartbeat decides: a number in the lock that
 * it changes every {@link BEAT_MS}. Whoever wants in watches it for {@link SILENCE_MS} by a clock of its own; clocks are not compared.
 * A holder that was only asleep finds out, at its next beat and before its commit, that the lock is another's.
 */
import { dirname, join } from "node:path"
import { decodeJson } from "../../document/decode.ts"
import { InvalidFile, IoError, OutputRefused, quote } from "../../errors.ts"
import { type DiskCalls, writeFully } from "../../io/Disk.ts"
import { lifeOf, type Life, type Owner, ownerSchema, thisProcess } from "./owner.ts"
import { hasErrno, isMissing, present } from "../../store/present.ts"
import { writeSmall } from "../../io/small.ts"
import { readSmall } from "../../store/readSmall.ts"
import { createFolder, type FolderIdentity, isSameFolder, isStill, removeCreated, requireOurs } from "./folder.ts"

export const BEAT_MS = 2000
/** Thirty beats: a holder is slow, suspended for a moment, or its file system hangs. */
export const SILENCE_MS = 60_000
const LOOK_MS = 1000

const LARGEST_LOCK = 4096
/** Others may come and go while we look. */
const ATTEMPTS = 20

/** Held by this thread now: its process running does not tell. */
const held = new Set<string>()

const generations = (names: ReadonlyArray<string>): ReadonlyArray<number> =>
  names.flatMap((name) => /^lock\.(\d{1,9})$/.exec(name)?.[1] ?? []).map(Number).sort((a, b) => b - a)

const pathOf = (folder: string, generation: number): string => join(folder, `lock.${generation}`)

/** A lock file: the owner, and a line with the number of the last beat, always as long. */
const encode = (owner: Owner, beat: number): Buffer => Buffer.from(`${JSON.stringify(owner)}\n${String(beat).padStart(12, "0")}\n`)

/** A lock as it was at one moment. */
interface Seen {
  readonly generation: number
  /** With the heartbeat. */
  readonly text: string
  /** Undefined: unreadable. A crash, or somebody who is writing it now. */
  readonly owner: Owner | undefined
}

/** The lock that counts; undefined if nobody ever took it, or it was released. */
const look = async (disk: DiskCalls, folder: string): Promise<Seen | undefined> => {
  const [generation] = generations(await disk.list(folder))
  if (generation === undefined) return undefined
  const path = pathOf(folder, generation)
  let text = ""
  try {
    const bytes = Buffer.from(await readSmall(disk, path, path, LARGEST_LOCK))
    text = bytes.toString("latin1")
    const end = bytes.indexOf("\n")
    return { generation, text, owner: end < 0 ? undefined : decodeJson(ownerSchema, path, bytes.subarray(0, end)) }
  } catch (error) {
    if (error instanceof InvalidFile) return { generation, text, owner: undefined }
    if (isMissing(error)) return undefined
    throw error
  }
}

/** Is it this very thread, of which we know whether it holds the lock? */
const isSelf = (owner: Owner): boolean => {
  const { boot, host, namespace, pid, start, thread } = thisProcess()
  return owner.host === host && owner.boot === boot && owner.namespace === namespace && owner.pid === pid && owner.start === start && owner.thread === thread
}

const lifeOfHolder = ({ owner }: Seen): Life => {
  if (owner === undefined) return "unknown"
  return isSelf(owner) ? (held.has(owner.nonce) ? "alive" : "dead") : lifeOf(owner)
}

/** Who holds the lock of a folder, or may hold it; undefined if nobody does. */
export const holderOf = async (disk: DiskCalls, folder: string): Promise<Owner | undefined> => {
  const seen = await look(disk, folder)
  return seen && lifeOfHolder(seen) !== "dead" ? seen.owner : undefined
}

const refused = (target: string, { owner }: Seen, hint?: string): OutputRefused =>
  new OutputRefused({
    path: target,
    code: "output/locked",
    problem: owner === undefined
      ? "another process is writing it"
      : owner.pid === process.pid && isSelf(owner)
      ? "this process is already writing it"
      : `process ${owner.pid} on ${quote(owner.host)} has been writing it since ${owner.since}`,
    hint: hint ?? "Wait for it, or end it; what it has done is kept for --resume."
  })

/** What nobody could tell to be alive, and gave no sign of life for {@link SILENCE_MS}. */
export type Silent = Pick<Seen, "generation" | "text">

/**
 * Watch the holder of a folder if nobody can tell whether it runs. Undefined: there is none of which that is true.
 *
 * @throws OutputRefused `output/locked` at its first sign of life.
 */
export const awaitSilence = async (
  disk: DiskCalls,
  folder: string,
  target: string,
  { onWait, signal }: { readonly signal?: AbortSignal; readonly onWait?: ((text: string) => void) | undefined } = {}
): Promise<Silent | undefined> => {
  if ((await requireOurs(disk, folder, target)).is !== "ours") return undefined
  const first = await look(disk, folder)
  if (!first || lifeOfHolder(first) !== "unknown") return undefined
  const holder = first.owner ? `process ${first.owner.pid} on ${quote(first.owner.host)}` : "another process"
  onWait?.(`${holder} holds the lock of ${quote(target)}, and whether it runs cannot be seen from here: watching for a sign of life, ${SILENCE_MS / 1000} s at most`)
  for (let watched = 0; watched < SILENCE_MS; watched += LOOK_MS) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    signal?.throwIfAborted()
    const now = await look(disk, folder).catch((error: unknown) => {
      if (isMissing(error)) return undefined
      throw error
    })
    if (!now) return undefined
    if (now.generation !== first.generation || now.text !== first.text) throw refused(target, now)
  }
  return first
}

export class Lock {
  readonly owner: Owner
  /** The folder did not exist before. */
  readonly fresh: boolean
  /** Who held it last, if it was never released. */
  readonly previous: Owner | undefined
  readonly #disk: DiskCalls
  readonly #folder: string
  readonly #target: string
  /** Of the folder. */
  readonly identity: FolderIdentity
  readonly #file: FolderIdentity
  readonly #generation: number
  readonly #timer: NodeJS.Timeout
  #beats = 0
  #beating: Promise<void> | undefined
  #lost: OutputRefused | undefined

  private constructor(made: {
    readonly disk: DiskCalls
    readonly folder: string
    readonly target: string
    readonly identity: FolderIdentity
    readonly file: FolderIdentity
    readonly generation: number
    readonly owner: Owner
    readonly fresh: boolean
    readonly previous: Owner | undefined
  }) {
    this.owner = made.owner
    this.fresh = made.fresh
    this.previous = made.previous
    this.#disk = made.disk
    this.#folder = made.folder
    this.#target = made.target
    this.identity = made.identity
    this.#file = made.file
    this.#generation = made.generation
    held.add(made.owner.nonce)
    this.#timer = setInterval(() => { this.#beating ??= this.#beat().finally(() => { this.#beating = undefined }) }, BEAT_MS)
    this.#timer.unref()
  }

  /**
   * Take the lock of `folder`, which is created if need be. `silent`: a holder that was watched in vain.
   *
   * @throws OutputRefused `output/locked` if another process holds it or may hold it, `output/foreign-staging`; IoError.
   */
  static async acquire(disk: DiskCalls, folder: string, target: string, silent?: Silent): Promise<Lock> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const standing = await requireOurs(disk, folder, target)
      try {
        if (standing.is !== "ours") {
          if (!await createFolder(disk, folder)) continue
          const made = await requireOurs(disk, folder, target)
          if (made.is !== "ours") continue
          const lock = await Lock.#attempt(disk, folder, target, made.folder, true, undefined).catch(async (error: unknown): Promise<never> => {
            await removeCreated(disk, folder, made.folder).catch(() => {})
            throw error
          })
          if (lock) return lock
        } else {
          const lock = await Lock.#attempt(disk, folder, target, standing.folder, false, silent)
          if (lock) return lock
        }
      } catch (error) {
        // The folder was published or discarded under our hands.
        if (!isMissing(error) || !(await present(disk, dirname(folder)))) throw error
      }
    }
    throw new IoError({ path: folder, operation: "lock", errno: "EBUSY", detail: "other processes keep taking it" })
  }

  static async #attempt(
    disk: DiskCalls,
    folder: string,
    target: string,
    identity: FolderIdentity,
    fresh: boolean,
    silent: Silent | undefined
  ): Promise<Lock | undefined> {
    const last = await look(disk, folder)
    if (last) {
      const life = lifeOfHolder(last)
      const isSilent = silent?.generation === last.generation && silent.text === last.text
      if (life === "alive" || (life === "unknown" && !isSilent)) throw refused(target, last, life === "unknown" ? CANNOT_TELL : undefined)
    }
    const owner = thisProcess()
    const generation = (last?.generation ?? 0) + 1
    const path = pathOf(folder, generation)
    try {
      await createLock(disk, folder, path, owner)
    } catch (error) {
      if (hasErrno(error, "EEXIST")) return undefined
      throw error
    }
    try {
      const file = await disk.lstat(path)
      // In between, the folder may have become another one of the same name, with a holder of its own.
      const now = generations(await disk.list(folder))
      const isSame = await isStill(disk, folder, identity)
      const before = last && (await readText(disk, pathOf(folder, last.generation)))
      if (now[0] === generation && isSame && before === last?.text) {
        return new Lock({ disk, folder, target, identity, file, generation, owner, fresh, previous: last?.owner })
      }
    } catch (error) {
      await disk.remove(path).catch(() => {})
      throw error
    }
    await disk.remove(path)
    return undefined
  }

  /** @throws OutputRefused `output/lock-lost` unless the folder and its lock are still this one's; IoError. */
  async verify(): Promise<void> {
    if (this.#lost) throw this.#lost
    const [highest] = generations(await this.#disk.list(this.#folder).catch((error: unknown) => (isMissing(error) ? [] : Promise.reject(error))))
    const file = await present(this.#disk, pathOf(this.#folder, this.#generation))
    if (highest !== this.#generation || !file || !isSameFolder(file, this.#file) || !(await isStill(this.#disk, this.#folder, this.identity))) {
      throw this.#lost = new OutputRefused({
        path: this.#target,
        code: "output/lock-lost",
        problem: `${quote(this.#folder)} was taken over, moved or removed by another program while this process worked in it; nothing was published`,
        hint: "Find out who works on this target, then run the command again."
      })
    }
  }

  /** Throws if a beat found that the lock is another's. */
  throwIfLost(): void {
    if (this.#lost) throw this.#lost
  }

  /** Give it up; the folder stays. */
  async release(): Promise<void> {
    clearInterval(this.#timer)
    await this.#beating
    held.delete(this.owner.nonce)
    const path = pathOf(this.#folder, this.#generation)
    try {
      const found = await present(this.#disk, path)
      // By that name another folder may have another's lock.
      if (found && isSameFolder(found, this.#file)) await this.#disk.remove(path)
    } catch {
      // The next one finds that this process, or its thread, holds it no longer.
    }
  }

  /** Show that this process lives; a beat that fails is followed by others. */
  async #beat(): Promise<void> {
    try {
      await this.verify()
      const file = await this.#disk.open(pathOf(this.#folder, this.#generation), "readwrite")
      try {
        if (isSameFolder(await file.info(), this.#file)) await writeFully(file, encode(this.owner, ++this.#beats), 0)
      } finally {
        await file.close()
      }
    } catch {
      // Lost: the next window, or the commit, says so.
    }
  }
}

const CANNOT_TELL = "Whether that process still runs cannot be seen from here, and it was not watched for long enough."

const readText = async (disk: DiskCalls, path: string): Promise<string | undefined> => {
  try {
    return Buffer.from(await readSmall(disk, path, path, LARGEST_LOCK)).toString("latin1")
  } catch (error) {
    if (isMissing(error) || error instanceof InvalidFile) return undefined
    throw error
  }
}

/** Link where the file system can, so that a lock is never seen half-written. */
const createLock = async (disk: DiskCalls, folder: string, path: string, owner: Owner): Promise<void> => {
  const bytes = encode(owner, 0)
  const written = join(folder, `lock.${owner.nonce}.new`)
  try {
    await writeSmall(disk, written, bytes)
    await disk.link(written, path).catch(async (error: unknown) => {
      if (!hasErrno(error, "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK")) throw error
      await writeWhole(disk, path, bytes)
    })
  } finally {
    await disk.remove(written).catch(() => {})
  }
}

const writeWhole = async (disk: DiskCalls, path: string, bytes: Uint8Array): Promise<void> => {
  try {
    await writeSmall(disk, path, bytes)
  } catch (error) {
    if (!hasErrno(error, "EEXIST")) await disk.remove(path).catch(() => {})
    throw error
  }
}
