/** Write files assembled from source arrays. */
import { Effect, Stream } from "effect"
import type { Disk } from "../io/Disk.ts"
import type { ArrayProgress } from "./ArrayProgress.ts"
import { type Earlier, readEarlier, type WrittenWindow } from "./Earlier.ts"
import { type FileWindow, fileWindows } from "./FileWindows.ts"
import { fill, type Lane, laneAt } from "./Fill.ts"
import { type Output, Outputs } from "./Outputs.ts"
import { pipeline } from "./pipeline.ts"
import { ahead, type EngineError, type Session, streamOf } from "./run.ts"
import type { EngineOptions } from "./Settings.ts"
import type { IoMode } from "./SourceFiles.ts"
import type { Sources, TargetFile } from "./Target.ts"
import { joined, type Sum, sumsOf } from "./WindowSums.ts"

/** What is known of an array once all of its bytes are assembled. */
export interface ArrayDone {
  /** Of the stored bytes; present if the segment or a seal asked for it. */
  readonly crc32?: number
  /** Elements whose value the opposite direction does not give back: rounded, overflowed, not restored. */
  readonly changed: number
}

export interface ExecuteOptions extends EngineOptions {
  /** Called with the bytes written since the last call. */
  readonly progress?: (bytes: number) => void
  /** Called once for each array, in no particular order. */
  readonly onArray?: (id: string, done: ArrayDone) => void
  /** Called with every window that is in its file, in no particular order. What it throws ends the execution. */
  readonly onWindow?: (file: string, window: WrittenWindow) => void
  /** What need not be written again. */
  readonly earlier?: Earlier
}

export interface ExecutionReport {
  /** In the order in which they became durable. */
  readonly files: ReadonlyArray<{ readonly name: string; readonly size: number; readonly direct: boolean }>
  readonly arrays: number
  readonly bytesWritten: number
  /** As asked from the file system, with what was read along. */
  readonly bytesRead: number
  /** Sum over the arrays of {@link ArrayDone.changed}. */
  readonly changed: number
}

/**
 * Create `files` in `directory`, in their order, several blocks at a time, and make each durable. Their folders exist; a file
 * must not (`EEXIST`), unless it is {@link Earlier}. Fails with the first error once everything under way has ended; what was written by then stays,
 * for the caller owns the directory.
 */
export const execute = (
  files: Iterable<TargetFile>,
  sources: Sources,
  directory: string,
  options: ExecuteOptions = {}
): Effect.Effect<ExecutionReport, EngineError, Disk> =>
  streamOf(options, 1, (session) => run(session, files, sources, directory, options)).pipe(
    Stream.runLast,
    Effect.map((report) => {
      if (report._tag === "None") throw new Error("an execution ends with its report")
      return report.value
    })
  )

/** Small files gain nothing by going past the page cache. */
const SMALLEST_DIRECT: Record<IoMode, number> = { auto: 1 << 20, direct: 1, buffered: Infinity }

interface Task {
  readonly output: Output
  readonly window: FileWindow
}

const run = async function*(
  session: Session,
  files: Iterable<TargetFile>,
  sources: Sources,
  directory: string,
  { earlier, onArray, onWindow, progress }: ExecuteOptions
): AsyncGenerator<ExecutionReport, void> {
  const { arena, context, disk, room, settings, signal } = session
  const finished: Array<ExecutionReport["files"][number]> = []
  const tally = { arrays: 0, bytesWritten: 0, changed: 0 }
  const live = new Set<ArrayProgress>()
  const stop = new AbortController()
  const outputs = new Outputs({
    disk,
    directory,
    smallestDirect: SMALLEST_DIRECT[settings.io],
    onFailure: (error) => stop.abort(error),
    onFinished: ({ name, size }, direct) => { finished.push({ name, size, direct }) }
  })

  const done = (array: ArrayProgress) => {
    live.delete(array)
    const { changed, crc } = array
    tally.arrays++
    tally.changed += changed
    onArray?.(array.pieces.array.id, { ...(crc === undefined ? {} : { crc32: crc }), changed })
  }
  const begin = (array: ArrayProgress) => {
    if (array.complete) done(array)
    else live.add(array)
  }
  const tasks = function*(): Generator<Task> {
    for (const file of files) {
      const output = outputs.add(file.name, file.size, earlier?.began(file.name) ?? false)
      for (const window of fileWindows(file, sources, settings.sizes.block, begin)) {
        output.pending++
        output.ending = window.last
        yield { output, window }
      }
    }
  }
  /** Put a window together at `block`. */
  const assemble = async (output: Output, window: FileWindow, lane: Lane): Promise<WrittenWindow> => {
    const bytes = context.memory.u8.subarray(lane.block, lane.scratch)
    const changed = await fill(context, window.parts, lane.block, lane)
    const sums: Array<Sum> = []
    const sum = (at: number, length: number) => {
      const own = sumsOf(bytes.subarray(at, at + length), window.position + at)
      sums.push(...own)
      return joined(own)
    }
    for (const [i, { array, at, end, start: from }] of window.parts.entries()) {
      array.add(from, end - from, array.checksum || onWindow ? sum(at, end - from) : 0, changed[i]!)
      if (array.complete) done(array)
    }
    for (const { at, bytes: literal } of window.literals) {
      bytes.set(literal, at)
      if (onWindow) sum(at, literal.byteLength)
    }
    for (const { at, from, seal, to } of window.seals) {
      const sealed = seal.bytes(await seal.array.whenComplete())
      if (sealed.byteLength !== seal.length) throw new RangeError(`a seal of ${output.name} has ${sealed.byteLength} bytes, not ${seal.length}`)
      bytes.set(sealed.subarray(from, to), at)
      if (onWindow) sum(at, to - from)
    }
    sums.sort((a, b) => a.position - b.position)
    return { position: window.position, size: window.size, crc32: joined(sums), changed, sums, found: false }
  }
  /** The window as an earlier execution wrote it. */
  const find = async (output: Output, window: FileWindow, lane: Lane): Promise<WrittenWindow | undefined> => {
    const record = earlier?.find(output.name, window.position)
    const bytes = context.memory.u8.subarray(lane.block, lane.scratch)
    const found = record && await readEarlier(context.files, output.path, window, record, bytes)
    if (!found) return undefined
    for (const [i, { array, at, end, start: from }] of window.parts.entries()) {
      array.add(from, end - from, joined(sumsOf(bytes.subarray(at, at + end - from), 0)), found.changed[i]!)
      if (array.complete) done(array)
    }
    return found
  }
  const work = async ({ output, window }: Task, { start }: { readonly start: number }) => {
    const lane = laneAt(start, settings.sizes)
    const found = await find(output, window, lane)
    const written = found ?? await assemble(output, window, lane)
    const file = await outputs.open(output)
    if (!found) {
      await file.write(context.memory.u8.subarray(lane.block, lane.scratch), window.size, window.position)
      tally.bytesWritten += window.size
    }
    onWindow?.(output.name, written)
    progress?.(window.size)
    outputs.written(output)
  }
  try {
    const windows = pipeline({
      items: tasks(),
      arena,
      room,
      ahead: ahead(session),
      work,
      keep: false,
      signal: AbortSignal.any([signal, stop.signal]),
      // Seals wait for arrays that will now never be complete.
      onFailure: (error) => live.forEach((array) => array.fail(error))
    })
    for await (const _ of windows);
    await outputs.settle()
    stop.signal.throwIfAborted()
    yield { files: finished, ...tally, bytesRead: context.files.bytesRead }
  } finally {
    await outputs.close()
  }
}
