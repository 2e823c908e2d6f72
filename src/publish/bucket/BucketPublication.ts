/**
 * The next content of a prefix of a bucket, which has no rename:
 *
 * 1. look at what is there and refuse what must not be replaced; go on with the uploads of an interrupted run, or abort them;
 * 2. (the engine's files are uploaded while they are produced: nothing of them is to be seen; small files wait in memory)
 * 3. look again; take away what is to be replaced, what makes it valid first;
 * 4. make objects of the uploads, then of the small files in the order in which they were written: those that make the whole valid come
 *    last. No object is put where another one is.
 *
 * Of a run that ends before that, the journal on this machine knows the uploads: `--resume` goes on with them.
 */
import { crc32 } from "node:zlib"
import { join } from "node:path"
import { OutputRefused, quote, some } from "../../errors.ts"
import { type DiskCalls, type FileInfo } from "../../io/Disk.ts"
import { makeFolders } from "../../io/small.ts"
import { canonical } from "../../remote/place.ts"
import type { BucketObject, S3Bucket } from "../../remote/s3/S3Bucket.ts"
import { PartRoom, partSize, S3Upload, type UploadState } from "../../remote/s3/S3Upload.ts"
import { eachOf } from "../../store/eachOf.ts"
import { hasErrno } from "../../store/present.ts"
import type { Sink } from "../../store/Sink.ts"
import type { ExecuteOptions, EngineOptions } from "../../engine/index.ts"
import { CHECKSUMS } from "../integrity/names.ts"
import { Recorder } from "../integrity/Recorder.ts"
import { requireSameJob, previousProcess } from "../journal/continued.ts"
import { engineFor } from "../journal/engineFor.ts"
import { contentOf } from "../journal/Fingerprint.ts"
import { Journal, readJournal } from "../journal/Journal.ts"
import type { Publication, PublicationOptions } from "../Publication.ts"
import type { Share } from "../Share.ts"
import { discard } from "../staging/discard.ts"
import { Lock, type Silent } from "../staging/Lock.ts"
import { isJournal, JOURNAL, stagingOf } from "../staging/names.ts"
import type { StagedContent } from "../staging/StagedFiles.ts"
import { anchorOf, stateDirectory } from "./place.ts"
import { giveUp, inOrderOfRemoval, takeUp } from "./earlier.ts"
import { readUploads, UploadJournal } from "./UploadJournal.ts"

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

const refused = (path: string, code: string, problem: string, hint?: string): OutputRefused =>
  new OutputRefused({ path, code: `output/${code}`, problem, ...(hint === undefined ? {} : { hint }) })

export class BucketPublication implements Publication {
  readonly staged: StagedContent
  readonly recorder: Recorder
  readonly shares: Array<Share> = []
  readonly sink: Sink<FileInfo>
  readonly execution: Pick<ExecuteOptions, "onWindow"> & EngineOptions
  readonly notes: ReadonlyArray<string>
  readonly directory: string
  readonly #disk: DiskCalls
  readonly #bucket: S3Bucket
  readonly #shown: string
  readonly #options: PublicationOptions
  readonly #anchor: string
  readonly #lock: Lock
  readonly #journal: Journal
  readonly #uploads: UploadJournal
  readonly #run: string
  /** What was there before, and is not of this job. */
  readonly #before: ReadonlyMap<string, BucketObject>
  readonly #files: Map<string, UploadState>
  /** Objects of this job: their tags. */
  readonly #made: Map<string, string>
  readonly #small = new Map<string, Uint8Array>()
  readonly #room = new PartRoom()
  #sent = 0
  /** Some of the former content is gone. */
  #removed = false
  #published = false
  /** The place is somebody else's now: going on would help nobody. */
  #refused = false

  private constructor(made: {
    readonly disk: DiskCalls
    readonly bucket: S3Bucket
    readonly shown: string
    readonly options: PublicationOptions
    readonly anchor: string
    readonly lock: Lock
    readonly journal: Journal
    readonly run: string
    readonly before: ReadonlyMap<string, BucketObject>
    readonly files: Map<string, UploadState>
    readonly made: Map<string, string>
    readonly notes: ReadonlyArray<string>
  }) {
    const { options } = made
    this.#disk = made.disk
    this.#bucket = made.bucket
    this.#shown = made.shown
    this.#options = options
    this.#anchor = made.anchor
    this.#lock = made.lock
    this.#journal = made.journal
    this.#uploads = new UploadJournal(made.journal)
    this.#run = made.run
    this.#before = made.before
    this.#files = made.files
    this.#made = made.made
    this.notes = made.notes
    this.directory = stagingOf(made.anchor)
    const folder = options.job?.folder ?? ""
    this.staged = {
      // A bucket has none.
      makeDirectory: async () => {},
      write: async (name, bytes) => { this.#small.set(name, bytes) },
      record: () => Promise.reject(new Error("what is in a bucket was uploaded"))
    }
    this.recorder = new Recorder(this.staged, folder, options.checksums ?? false)
    this.sink = {
      remote: true,
      create: async ({ name, shared, size }) => {
        if (shared) throw new Error("an object has one writer")
        const state = this.#stateOf(join(folder, name), size)
        return new S3Upload(made.bucket, made.run, state, this.#room, {
          begun: (begun) => this.#uploads.begun(begun),
          sent: (own, part) => {
            this.#sent += part.size
            this.#uploads.sent(own, part)
          }
        })
      },
      commit: () => this.#publish()
    }
    this.execution = {
      ...(options.job ? engineFor(options.job.engine) : {}),
      onWindow: (file, window) => {
        this.#lock.throwIfLost()
        this.recorder.window(file, window)
      }
    }
  }

  #stateOf(name: string, size: number): UploadState {
    const known = this.#files.get(name)
    if (known?.size === size) return known
    const state: UploadState = { name, size, partSize: partSize(size), id: undefined, parts: new Map(), done: undefined }
    this.#files.set(name, state)
    return state
  }

  get content(): string | undefined {
    return this.#options.job && contentOf(this.#options.job.identity)
  }

  get isPublished(): boolean {
    return this.#published
  }

  static async open(disk: DiskCalls, bucket: S3Bucket, shown: string, options: PublicationOptions, silent?: Silent): Promise<BucketPublication> {
    for (const source of options.sources ?? []) {
      const [own, other] = [`${canonical(shown)}/`, `${canonical(source)}/`]
      if (own.startsWith(other) || other.startsWith(own)) throw refused(shown, "holds-source", `${own === other ? "is" : "and"} the source ${quote(source)}${own === other ? "" : " lie in each other"}`, "Name another target.")
    }
    const anchor = anchorOf(shown)
    const folder = stagingOf(anchor)
    await makeFolders(disk, stateDirectory())
    const lock = await Lock.acquire(disk, folder, shown, silent)
    let journal: Journal | undefined
    let isEmpty = lock.fresh
    try {
      const path = join(folder, JOURNAL)
      const [found, earlier] = [await readJournal(disk, path), await readUploads(disk, path)]
      const since = previousProcess(lock.previous)
      const resumes = options.resume === true && options.job !== undefined && found !== undefined && earlier.run !== undefined
      if (resumes) requireSameJob(shown, found.job, options.job.identity, since)
      const objects = new Map(await bucket.objects())
      const notes: Array<string> = []
      const [files, made] = [new Map<string, UploadState>(), new Map<string, string>()]
      if (resumes) {
        await takeUp(bucket, earlier, objects, files, made)
        notes.push(`resumed: ${megabytes(earlier.bytes)} that an interrupted run${since} had uploaded were compared with what the sources give, and kept where equal`)
      } else {
        if (options.resume) notes.push("there was nothing to resume; the work started from the beginning")
        if (earlier.files.size > 0 || earlier.made.size > 0) {
          await giveUp(bucket, earlier, objects)
          notes.push(`${megabytes(earlier.bytes)} that an interrupted run${since} had uploaded were removed; --resume would have continued it`)
        }
        for (const name of await disk.list(folder)) if (isJournal(name)) await disk.removeTree(join(folder, name))
        isEmpty = true
      }
      const before = new Map([...objects].filter(([name]) => !made.has(name)))
      checkBefore(shown, before, options)
      const run = resumes ? earlier.run : crypto.randomUUID()
      if (options.job === undefined) throw new Error("what is written to a bucket is a job")
      journal = resumes ? await Journal.append(disk, path) : await Journal.create(disk, path, options.job.identity, engineFor(options.job.engine).sizes.block)
      if (!resumes) await new UploadJournal(journal).run(run, shown)
      return new BucketPublication({ disk, bucket, shown, options, anchor, lock, journal, run, before, files, made, notes })
    } catch (error) {
      await journal?.close().catch(() => {})
      if (isEmpty) await discard(disk, anchor, lock.identity).catch(() => {})
      await lock.release()
      throw error
    }
  }

  /** Make objects of everything; commit.ts calls it when everything is there. */
  async #publish(): Promise<void> {
    await this.#lock.verify()
    await this.#requireUnchanged()
    const bucket = this.#bucket
    for (const [name, { etag }] of inOrderOfRemoval(this.#before)) {
      this.#removed = true
      await bucket.remove(name, etag)
    }
    const taken = (name: string) => (error: unknown): never => {
      if (!hasErrno(error, "EEXIST")) throw error
      this.#refused = true
      throw refused(this.#shown, "appeared", `${quote(name)} came to be in it while the work went on; nothing was published`, "Find out who writes there, or name another target.")
    }
    const make = async (name: string, call: () => Promise<string>): Promise<void> => {
      const etag = await call().catch(taken(name))
      this.#made.set(name, etag)
      await this.#uploads.made(name, etag)
    }
    await eachOf([...this.#files.values()].filter(({ done }) => done === undefined), (state) =>
      make(state.name, () => {
        const { id, name, parts } = state
        if (id === undefined) return bucket.put(name, new Uint8Array(0), 0, this.#run)
        return bucket.complete(name, id, this.#run, [...parts.values()].sort((a, b) => a.number - b.number))
      }))
    // The sums first: they make nothing valid.
    const small = [...this.#small].sort(([a], [b]) => Number(b.endsWith(CHECKSUMS)) - Number(a.endsWith(CHECKSUMS)))
    for (const [name, bytes] of small) await make(name, () => bucket.put(name, bytes, crc32(bytes), this.#run))
    this.#published = true
    await bucket.endLeft(new Set(this.#files.keys()))
    await this.#journal.close().catch(() => {})
    await discard(this.#disk, this.#anchor, this.#lock.identity).catch(() => {})
  }

  /** Others must have left the place as it was. */
  async #requireUnchanged(): Promise<void> {
    const now = await this.#bucket.objects()
    this.#refused = true
    const added = [...now.keys()].filter((name) => !this.#before.has(name) && !this.#made.has(name))
    if (added.length > 0) throw refused(this.#shown, "appeared", `${some(added, 3)} came to be in it while the work went on; nothing was published`, "Find out who writes there, or name another target.")
    const other = [...this.#before].filter(([name, { etag }]) => now.get(name)?.etag !== etag).map(([name]) => name)
    if (other.length > 0) throw refused(this.#shown, "changed", `${some(other, 3)} in it changed while the work went on; nothing was published`)
    this.#refused = false
  }

  async close(useless: boolean): Promise<string | undefined> {
    await this.#journal.close().catch(() => {})
    try {
      if (this.#published) return undefined
      if (!await this.#lock.verify().then(() => true, () => false)) return undefined
      const gone = this.#removed ? " Its former content is gone already." : ""
      // Small files make a whole of what is none: they go in any case, the last first.
      const isClean = await this.#takeBack([...this.#made.keys()].filter((name) => this.#small.has(name)).toReversed())
      const begun = [...this.#files.values()].some(({ done, parts }) => parts.size > 0 || done !== undefined)
      const kept = `${quote(this.directory)} knows the uploads, which cost storage until they are ended: --resume goes on with them; \`uploads ${this.#shown} --abort\`, or a run without --resume, removes them.`
      if (!useless && !this.#refused && begun) return `${megabytes(this.#sent)} were uploaded in this run; nothing was published.${gone} ${kept}`
      const all = await this.#takeBack([...this.#made.keys()])
      let ended = isClean && all
      await eachOf(this.#files.values(), async ({ done, id, name }) => {
        if (id !== undefined && done === undefined && !this.#made.has(name)) await this.#bucket.abort(name, id)
      }).catch(() => { ended = false })
      if (!ended) return `Nothing was published, but not everything that was uploaded could be removed.${gone} ${kept}`
      return await discard(this.#disk, this.#anchor, this.#lock.identity).catch(() => false) ? (gone === "" ? undefined : gone.trim()) : `${quote(this.directory)} could not be removed.`
    } finally {
      await this.#lock.release()
    }
  }

  /** Remove objects of this run. False if some could not be. */
  async #takeBack(names: ReadonlyArray<string>): Promise<boolean> {
    let all = true
    for (const name of names) {
      await this.#bucket.remove(name, this.#made.get(name)!).then(() => this.#made.delete(name), () => { all = false })
    }
    return all
  }
}

/** OutputRefused if what is there must not be replaced. */
const checkBefore = (shown: string, before: ReadonlyMap<string, BucketObject>, { notReplaceable, overwrite }: PublicationOptions): void => {
  if (before.size === 0) return
  const names = [...new Set([...before.keys()].map((name) => name.split("/")[0]!))].sort()
  if (!overwrite) throw refused(shown, "exists", "exists and is not empty", "--overwrite replaces it once the new one is complete.")
  const reason = notReplaceable?.(names)
  if (reason !== undefined) throw refused(shown, "not-replaceable", `${reason}, so --overwrite does not replace it`, `In it: ${some(names, 5)}. Name another target, or remove it yourself.`)
}

