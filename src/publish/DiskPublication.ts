/**
 * The next content of one target, from the lock to the rename:
 *
 * 1. look at the target and refuse what cannot or must not be replaced; finish a replacement that a crash cut in two;
 * 2. lock the folder; keep what an interrupted run of the same job left (`resume`), or remove it;
 * 3. check the free space;
 * 4. (writers stage their shares: stage.ts)
 * 5. make every directory durable, rename, make the rename durable, remove the folder (commit.ts).
 */
import { dirname, join } from "node:path"
import { directorySink, type EngineOptions, type ExecuteOptions, type RangeSum, type Settings, settingsOf, type WrittenWindow } from "../engine/index.ts"
import { IoError, NoSpace, OutputRefused, quote } from "../errors.ts"
import type { DiskCalls, FileInfo } from "../io/Disk.ts"
import type { Sink } from "../store/Sink.ts"
import { identityOf } from "../io/identity.ts"
import { hasErrno, isMissing, present } from "../store/present.ts"
import { discard, sweep } from "./staging/discard.ts"
import { standingOf } from "./staging/folder.ts"
import { awaitSilence, Lock, type Silent } from "./staging/Lock.ts"
import { DATA, isJournal, isOrders, JOURNAL, REPLACED, stagingOf } from "./staging/names.ts"
import { isFormerDisposable, isReplaced, removeRecord } from "./staging/record.ts"
import { ensureDirectory, StagedFiles } from "./staging/StagedFiles.ts"
import { publishData, recover } from "./staging/swap.ts"
import { checkTarget, findTarget, makeParents, type ObservedTarget, observeTarget, type Permission, removeParents, type Target } from "./staging/target.ts"
import { engineFor } from "./journal/engineFor.ts"
import { Recorder } from "./integrity/Recorder.ts"
import { requireSameJob, previousProcess } from "./journal/continued.ts"
import { contentOf } from "./journal/Fingerprint.ts"
import { type EarlierWork, Journal, readJournal } from "./journal/Journal.ts"
import { SpaceWatch } from "./journal/SpaceWatch.ts"
import type { Publication, PublicationOptions } from "./Publication.ts"
import type { Share } from "./Share.ts"

/** Room for directories, metadata and rounding to blocks, on top of the payload. */
const SPARE_BYTES = 16 << 20

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

export class DiskPublication implements Publication {
  /** The directory to fill, and what is in it: the commit publishes exactly that. */
  readonly staged: StagedFiles
  /** Writes the small files, and sums of everything. */
  readonly recorder: Recorder
  /** What was staged, by whichever writer. */
  readonly shares: Array<Share> = []
  /** Where writers put the files of the job. Its commit gives the target the new content. */
  readonly sink: Sink<FileInfo>
  /** For the engine. */
  readonly execution: Pick<ExecuteOptions, "earlier" | "onFile" | "onWindow"> & EngineOptions
  /** What the report should say. */
  readonly notes: Array<string>
  readonly #disk: DiskCalls
  readonly #target: ObservedTarget
  readonly #permission: Permission
  readonly #options: PublicationOptions
  readonly #folder: string
  readonly #lock: Lock
  readonly #parents: ReadonlyArray<string>
  readonly #watch: SpaceWatch
  readonly #journal: Journal | undefined
  readonly #earlierBytes: number
  #written = 0
  /** The target has its name; what may still fail is to make that durable. */
  #published = false
  #done = false

  private constructor(made: {
    readonly disk: DiskCalls
    readonly target: ObservedTarget
    readonly permission: Permission
    readonly options: PublicationOptions
    readonly lock: Lock
    readonly parents: ReadonlyArray<string>
    readonly watch: SpaceWatch
    readonly journal: Journal | undefined
    readonly earlier: EarlierWork | undefined
    readonly notes: ReadonlyArray<string>
  }) {
    const { earlier, journal, options, target } = made
    this.#disk = made.disk
    this.#target = target
    this.#permission = made.permission
    this.#options = options
    this.#folder = stagingOf(target.path)
    this.#lock = made.lock
    this.#parents = made.parents
    this.#watch = made.watch
    this.#journal = journal
    this.#earlierBytes = earlier?.bytes ?? 0
    const folder = options.job?.folder ?? ""
    this.staged = new StagedFiles(made.disk, join(this.#folder, DATA), target.shown)
    this.recorder = new Recorder(this.staged, folder, options.checksums ?? false)
    this.notes = [...made.notes]
    this.sink = directorySink(made.disk, join(this.staged.directory, folder), () => this.#publish())
    this.execution = {
      ...(options.job ? engineFor(options.job.engine, earlier?.block) : {}),
      ...(earlier ? { earlier } : {}),
      onFile: (file, info) => this.staged.finished(join(folder, file), identityOf(info)),
      onWindow: (file, window) => {
        this.takeOver(file, window)
        // Of a window with open seals nobody knows the sum yet.
        if (!window.found && window.open.length === 0) journal?.add(file, window)
      }
    }
  }

  /** A window is in its file; whoever wrote it has it in a journal. */
  takeOver(file: string, window: WrittenWindow): void {
    this.#lock.throwIfLost()
    this.recorder.window(file, window)
    if (window.found) return
    this.#written += window.size
    this.#watch.wrote(window.size)
  }

  /** The open seals of a window were written: their sums. */
  seal(file: string, window: WrittenWindow, sealed: ReadonlyArray<RangeSum>): void {
    this.recorder.window(file, { sums: sealed })
    this.#journal?.add(file, window)
  }

  /** How the engine writes. */
  get settings(): Settings {
    return settingsOf(this.execution)
  }

  /** Where the files of the job are. */
  get directory(): string {
    return join(this.staged.directory, this.#options.job?.folder ?? "")
  }

  /** Digest of the content that the job is made from; undefined: there is no job. */
  get content(): string | undefined {
    return this.#options.job && contentOf(this.#options.job.identity)
  }

  get isPublished(): boolean {
    return this.#published
  }

  /** Watch who holds the lock of a target, if nobody can tell whether it runs: takes a minute. */
  static async awaitSilence(disk: DiskCalls, shown: string, options: Parameters<typeof awaitSilence>[3]): Promise<Silent | undefined> {
    const { path } = await findTarget(disk, shown)
    return awaitSilence(disk, stagingOf(path), shown, options)
  }

  /** `silent`: the holder of the lock, if nobody could tell whether it runs and it was watched in vain. */
  static async open(disk: DiskCalls, shown: string, options: PublicationOptions, silent?: Silent): Promise<DiskPublication> {
    const permission: Permission = {
      overwrite: options.overwrite,
      sources: options.sources ?? [],
      notReplaceable: options.notReplaceable ?? (() => undefined)
    }
    const look = async (): Promise<Target> => {
      const found = await findTarget(disk, shown)
      await checkTarget(disk, found, permission)
      return options.elsewhere ? { ...found, shown: options.elsewhere.shown } : found
    }
    const { path } = await findTarget(disk, shown)
    const recovered = await recover(disk, path)
    const parents = await makeParents(disk, await look())
    const folder = stagingOf(path)
    let lock: Lock | undefined
    let journal: Journal | undefined
    let empty = false
    try {
      lock = await Lock.acquire(disk, folder, shown, silent).catch((error: unknown): never => {
        if (!(error instanceof IoError) || !hasErrno(error, "EACCES", "EPERM", "EROFS")) throw error
        const { errno, operation } = error
        throw new IoError({ path: dirname(path), operation, errno, hint: "The new directory comes to be beside the target, so this one must be writable." })
      })
      empty = lock.fresh
      // Somebody may have published here before the lock was ours.
      const target = await observeTarget(disk, await look())
      await sweep(disk, path)
      const { earlier, notes } = await prepare(disk, target, lock, options)
      empty = earlier === undefined
      if (recovered === "finished") notes.unshift(`the replacement of ${quote(shown)} that a crash had interrupted was finished first`)
      const needed = options.size - (earlier?.bytes ?? 0)
      const free = await disk.freeSpace(dirname(path))
      if (free < needed + SPARE_BYTES) throw new NoSpace({ path: shown, needed: needed + SPARE_BYTES, free })
      if (options.job) {
        const journalPath = join(folder, JOURNAL)
        journal = earlier
          ? await Journal.append(disk, journalPath)
          : await Journal.create(disk, journalPath, options.job.identity, engineFor(options.job.engine).sizes.block)
      }
      const watch = new SpaceWatch(disk, dirname(path), needed)
      return new DiskPublication({ disk, target, permission, options, lock, parents, watch, journal, earlier, notes })
    } catch (error) {
      await journal?.close().catch(() => {})
      // What another run left stays.
      if (empty && lock) await discard(disk, path, lock.identity).catch(() => {})
      await lock?.release()
      await removeParents(disk, parents)
      throw error
    }
  }

  /** Remove what a run left that published its work and could not clean up; anything else stays. */
  static async tidy(disk: DiskCalls, shown: string): Promise<void> {
    const { path, state } = await findTarget(disk, shown)
    if (state !== "full") return
    await sweep(disk, path)
    const folder = stagingOf(path)
    if ((await standingOf(disk, folder)).is === "empty") return disk.removeDirectory(folder)
    const isOver = async () => (await standingOf(disk, folder)).is === "ours" && !(await present(disk, join(folder, DATA)))
    if (!await isOver()) return
    const lock = await Lock.acquire(disk, folder, shown)
    try {
      if (await isOver()) await discard(disk, path, lock.identity)
    } finally {
      await lock.release()
    }
  }

  /** Give the directory the target's name; commit.ts calls it when everything is in it. */
  async #publish(): Promise<void> {
    await this.#journal?.close()
    const { elsewhere } = this.#options
    if (elsewhere) {
      await this.#lock.verify()
      await this.staged.check()
      this.notes.push(await elsewhere.deliver(this.staged.directory, this.staged.names))
      this.#published = this.#done = true
      await discard(this.#disk, this.#target.path, this.#lock.identity).catch(() => {})
      return
    }
    const publication = { folder: this.#folder, lock: this.#lock, target: this.#target, permission: this.#permission, staged: this.staged }
    await publishData(this.#disk, publication, () => { this.#published = true })
    this.#done = true
    // Published and durable: what cannot be removed now is removed by the next run.
    await discard(this.#disk, this.#target.path, this.#lock.identity).catch(() => {})
  }

  /**
   * End the run. Unless it was published, its work is kept if there is any and it is not `useless`.
   *
   * @returns what to tell the user about what was kept.
   */
  async close(useless: boolean): Promise<string | undefined> {
    await this.#watch.close()
    await this.#journal?.close().catch(() => {})
    try {
      if (this.#done) return undefined
      if (this.#published) return `The new content is in place, but whether that survives a loss of power is not certain; ${quote(this.#folder)} remains until the next run.`
      const isOurs = await this.#lock.verify().then(() => true, () => false)
      // Whoever has the folder now decides about what is in it.
      if (!isOurs) return undefined
      const bytes = this.#written + this.#earlierBytes
      if (!useless && this.#journal && bytes > 0) {
        return `${megabytes(Math.min(bytes, this.#options.size))} of ${megabytes(this.#options.size)} are done and kept in ${quote(this.#folder)}: ` +
          `--resume goes on from there, without it the next run starts over.`
      }
      const gone = await discard(this.#disk, this.#target.path, this.#lock.identity).catch(() => false)
      if (gone) await removeParents(this.#disk, this.#parents)
      return gone ? undefined : `${quote(this.#folder)} could not be removed.`
    } finally {
      await this.#lock.release()
    }
  }
}

/** Keep or remove what an earlier run left; afterwards `data` is there, with nothing in it that the journal does not name. */
const prepare = async (disk: DiskCalls, target: Target, lock: Lock, options: PublicationOptions) => {
  const folder = stagingOf(target.path)
  const [data, journal, replaced] = [join(folder, DATA), join(folder, JOURNAL), join(folder, REPLACED)]
  const notes: Array<string> = []
  let earlier: EarlierWork | undefined
  if (!lock.fresh) {
    if (!await isFormerDisposable(disk, folder, target.path)) {
      throw new OutputRefused({
        path: target.shown,
        code: "output/unfinished",
        problem: `its former content is in ${quote(replaced)}, left by an interrupted replacement`,
        hint: "Move that to where it belongs, or remove it."
      })
    }
    const found = await readJournal(disk, journal)
    if (found && !await isReplaced(disk, folder, target.path)) {
      const since = previousProcess(lock.previous)
      if (options.resume && options.job) {
        requireSameJob(target.shown, found.job, options.job.identity, since)
        earlier = found
        notes.push(`resumed: ${megabytes(found.bytes)} that an interrupted run${since} had written were checked and kept where intact`)
      } else if (found.bytes > 0) {
        notes.push(`${megabytes(found.bytes)} that an interrupted run${since} had left were removed; --resume would have continued it`)
      }
    }
    await disk.removeTree(replaced)
    await disk.syncDirectory(folder)
    await removeRecord(disk, folder)
    if (earlier) await prune(disk, data, "", options.job!.folder, earlier)
    else await disk.removeTree(data)
    // What an earlier run was told to do counts no more; what it has done, if this one goes on with it.
    for (const name of await disk.list(folder)) if (isOrders(name) || (!earlier && isJournal(name))) await disk.removeTree(join(folder, name))
  }
  if (options.resume && !earlier) notes.push("there was nothing to resume; the work started from the beginning")
  await ensureDirectory(disk, data)
  return { earlier, notes }
}

/** Remove what is below `data` and no file of the job that an earlier run began, and the folders that this empties. */
const prune = async (disk: DiskCalls, data: string, below: string, folder: string, earlier: EarlierWork): Promise<void> => {
  const directory = join(data, below)
  for (const name of await disk.list(directory).catch((error: unknown) => (isMissing(error) ? [] : Promise.reject(error)))) {
    const path = join(below, name)
    const { kind } = await disk.lstat(join(data, path))
    if (kind === "directory") {
      await prune(disk, data, path, folder, earlier)
      if ((await disk.list(join(data, path))).length === 0) await disk.removeDirectory(join(data, path))
    } else {
      const file = folder === "" ? path : path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : undefined
      // Never a link: what it leads to would be written into.
      if (file === undefined || kind !== "file" || !earlier.began(file)) await disk.remove(join(data, path))
    }
  }
}
