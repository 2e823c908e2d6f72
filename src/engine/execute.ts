/** Write files assembled from source arrays. */
import { Effect, Stream } from "effect"
import type { Disk } from "../io/Disk.ts"
import type { ArrayProgress } from "./ArrayProgress.ts"
import { type FileWindow, fileWindows } from "./FileWindows.ts"
import { fill, laneAt } from "./Fill.ts"
import { type Output, Outputs } from "./Outputs.ts"
import { pipeline } from "./pipeline.ts"
import { ahead, type EngineError, type Session, streamOf } from "./run.ts"
import type { EngineOptions } from "./Settings.ts"
import type { IoMode } from "./SourceFiles.ts"
import type { Sources, TargetFile } from "./Target.ts"

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
 * must not (`EEXIST`). Fails with the first error once everything under way has ended; what was written by then stays,
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
  { onArray, progress }: ExecuteOptions
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
      const output = outputs.add(file.name, file.size)
      for (const window of fileWindows(file, sources, settings.sizes.block, begin)) {
        output.pending++
        output.ending = window.last
        yield { output, window }
      }
    }
  }
  const work = async ({ output, window }: Task, { start }: { readonly start: number }) => {
    const lane = laneAt(start, settings.sizes)
    const bytes = context.memory.u8
    const changed = await fill(context, window.parts, lane.block, lane)
    for (const [i, { array, at, end, start: from }] of window.parts.entries()) {
      array.add(from, bytes.subarray(lane.block + at, lane.block + at + end - from), changed[i]!)
      if (array.complete) done(array)
    }
    for (const { at, bytes: literal } of window.literals) bytes.set(literal, lane.block + at)
    for (const { at, from, seal, to } of window.seals) {
      const sealed = seal.bytes(await seal.array.whenComplete())
      if (sealed.byteLength !== seal.length) throw new RangeError(`a seal of ${output.name} has ${sealed.byteLength} bytes, not ${seal.length}`)
      bytes.set(sealed.subarray(from, to), lane.block + at)
    }
    const file = await outputs.open(output)
    await file.write(bytes.subarray(lane.block, lane.scratch), window.size, window.position)
    tally.bytesWritten += window.size
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
