/** The target files of an execution: opened by the first window at work, synced when the last one is written, a few at a time. */
import type { FileInfo } from "../../io/Disk.ts"
import type { Sink, SinkFile } from "../../store/Sink.ts"

/** Files open for writing at one time: those being written and those being synced. */
const MOST_OPEN = 8

/** One target file. `pending` counts the windows that were begun and are not written. */
export interface Output {
  readonly name: string
  readonly size: number
  /** An earlier execution may have begun it. */
  readonly begun: boolean
  file: Promise<SinkFile<FileInfo>> | undefined
  pending: number
  /** Some of it was written past the page cache. */
  direct: boolean
  /** Its last window was begun. */
  ending: boolean
}

export class Outputs {
  readonly #sink: Sink<FileInfo>
  readonly #shared: boolean
  readonly #onFailure: (error: unknown) => void
  readonly #onFinished: (output: Output, info: FileInfo | undefined) => void
  readonly #open = new Set<SinkFile<FileInfo>>()
  readonly #finishing = new Set<Promise<void>>()
  readonly #waiting: Array<() => void> = []
  #turns = MOST_OPEN

  constructor(options: {
    readonly sink: Sink<FileInfo>
    /** Others write to the same files, which are there in their full size; nobody knows here when a file is whole. */
    readonly shared: boolean
    readonly onFailure: (error: unknown) => void
    /** `info`: the file as it then is; undefined if it is shared. */
    readonly onFinished: (output: Output, info: FileInfo | undefined) => void
  }) {
    this.#sink = options.sink
    this.#shared = options.shared
    this.#onFailure = options.onFailure
    this.#onFinished = options.onFinished
  }

  add(name: string, size: number, begun: boolean): Output {
    return { name, size, begun, file: undefined, pending: 0, direct: false, ending: false }
  }

  /** The file itself, created at the first call. */
  open(output: Output): Promise<SinkFile<FileInfo>> {
    return output.file ??= this.#create(output)
  }

  /** One window of the file is written. */
  written(output: Output): void {
    output.pending--
    if (output.pending > 0 || !output.ending) return
    const finishing = this.#finish(output).catch(this.#onFailure).finally(() => this.#finishing.delete(finishing))
    this.#finishing.add(finishing)
  }

  /** Waits for the files that are being synced. */
  async settle(): Promise<void> {
    while (this.#finishing.size > 0) await Promise.all(this.#finishing)
  }

  /** Close what is open. */
  async close(): Promise<void> {
    await this.settle()
    await Promise.all([...this.#open].map((file) => file.abandon()))
  }

  async #create(output: Output): Promise<SinkFile<FileInfo>> {
    if (this.#turns > 0) this.#turns--
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      const { begun, name, size } = output
      const file = await this.#sink.create({ name, size, begun, shared: this.#shared })
      this.#open.add(file)
      return file
    } catch (error) {
      this.#giveTurn()
      throw error
    }
  }

  async #finish(output: Output): Promise<void> {
    const file = await output.file!
    let info: FileInfo | undefined
    try {
      info = await file.finish()
    } finally {
      // Also after a failure: others that wait would wait for ever.
      this.#giveTurn()
    }
    this.#open.delete(file)
    this.#onFinished(output, info)
  }

  #giveTurn(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#turns++
  }
}
