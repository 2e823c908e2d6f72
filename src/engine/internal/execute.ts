/** Write files assembled from source arrays. */
import { Effect, Stream } from "effect"
import { join } from "node:path"
import type { Disk, FileInfo } from "../../io/Disk.ts"
import type { Sink, SinkFile } from "../../store/Sink.ts"
import { type AddressRange, PAGE, roundDown } from "./Arena.ts"
import { type ArrayDone, Assembly } from "./Assembly.ts"
import type { OpenSeal } from "./OpenSeal.ts"
import type { ResumeRecord, WrittenWindow } from "./ResumeRecord.ts"
import { type FileWindow, fileWindows } from "./FileWindows.ts"
import type { Slot } from "./Slot.ts"
import { type Output, Outputs } from "./Outputs.ts"
import { blockLoop } from "./blockLoop.ts"
import { directorySink } from "./directorySink.ts"
import type { Portion } from "./portion.ts"
import { type EngineError, type EngineSession, streamOf } from "./session.ts"
import type { EngineOptions } from "./Settings.ts"
import type { SourceFiles } from "./SourceFiles.ts"
import type { IoMode } from "./IoWays.ts"
import type { TargetFile } from "./Target.ts"

export interface ExecuteOptions extends EngineOptions {
  /** Called with the bytes written since the last call. */
  readonly progress?: (bytes: number) => void
  /** Called once for each array, in no particular order. */
  readonly onArray?: (id: string, done: ArrayDone) => void
  /** Called with every window that is in its file, in no particular order. What it throws ends the execution. */
  readonly onWindow?: (file: string, window: WrittenWindow) => void
  /** Called with every file that is whole, durable and closed, as it then is; never with a `portion`. */
  readonly onFile?: (file: string, info: FileInfo) => void
  /** What need not be written again. */
  readonly earlier?: ResumeRecord
  /** Where the files are written, if not in `directory` as it is. */
  readonly sink?: Sink<FileInfo>
  /** Write these cells only, beside others who write the rest of the files, which are there in their full size. */
  readonly portion?: Portion
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
 * must not (`EEXIST`), unless it is {@link ResumeRecord}. Fails with the first error once everything under way has ended; what was written by then stays,
 * for the caller owns the directory.
 */
export const execute = (
  files: Iterable<TargetFile>,
  directory: string,
  options: ExecuteOptions = {}
): Effect.Effect<ExecutionReport, EngineError, Disk> =>
  streamOf(options, 1, (session) => run(session, files, directory, options)).pipe(
    Stream.runLast,
    Effect.map((report) => {
      if (report._tag === "None") throw new Error("an execution ends with its report")
      return report.value
    })
  )

/** Small files gain nothing by going past the page cache, and tell nothing about which way is faster. */
const SMALLEST_DIRECT: Record<IoMode, number> = { auto: 1 << 20, direct: 1, buffered: 1 }

interface Task {
  readonly output: Output
  readonly window: FileWindow
}

const run = async function*(
  session: EngineSession,
  files: Iterable<TargetFile>,
  directory: string,
  { earlier, onArray, onFile, onWindow, portion, progress, sink }: ExecuteOptions
): AsyncGenerator<ExecutionReport, void> {
  const { context, disk, settings: { gap, io, sizes }, signal, ways } = session
  const target = await ways.target(disk, directory)
  const finished: Array<ExecutionReport["files"][number]> = []
  let bytesWritten = 0
  const stop = new AbortController()
  const assembly = new Assembly(context, onWindow !== undefined, onArray ?? (() => {}))
  const outputs = new Outputs({
    sink: sink ?? directorySink(disk, directory),
    shared: portion !== undefined,
    onFailure: (error) => stop.abort(error),
    onFinished: ({ direct, name, size }, info) => {
      finished.push({ name, size, direct })
      if (info) onFile?.(name, info)
    }
  })
  const tasks = function*(): Generator<Task> {
    for (const file of files) {
      const ranges = portion ? portion.get(file.name) ?? [] : undefined
      if (ranges?.length === 0) continue
      const output = outputs.add(file.name, file.size, earlier?.began(file.name) ?? false)
      for (const window of fileWindows(file, sizes, gap, (array) => assembly.begin(array), ranges)) {
        output.pending++
        output.ending = window.final
        yield { output, window }
      }
    }
  }
  const write = async (output: Output, file: SinkFile<FileInfo>, room: Uint8Array, size: number, position: number): Promise<void> => {
    if (size === 0) return
    if (sink?.remote || output.size < SMALLEST_DIRECT[io]) return void await file.write(room, size, position, false)
    const turn = await target.take(size)
    try {
      const isDirect = await file.write(room, size, position, turn.direct)
      if (turn.direct && !isDirect) target.refuse()
      output.direct ||= isDirect
    } catch (error) {
      await turn.end()
      throw error
    }
    await turn.end(turn.direct ? undefined : () => file.sync())
  }
  const take = async ({ output, window }: Task, slot: Slot) => {
    const { after, before, last, position, size } = window
    // The window's bytes lie in memory as they lie in their pages.
    const lead = position % PAGE
    const memory = context.memory.u8.subarray(slot.block, slot.scratch.start)
    try {
      const found = earlier && await assembly.find(earlier, session.written, { name: output.name, path: join(directory, output.name) }, window, slot.block + lead)
      const written = found ?? await assembly.assemble(window, slot.block + lead, slot)
      const given = await before?.given
      const head = given?.bytes
      // The page that the window before ends in was written with this one.
      const intact = found && (!head || await isAt(session.written, join(directory, output.name), position - lead, head, memory))
      if (head) memory.set(head)
      const pages = last ? lead + size : roundDown(lead + size, PAGE)
      after?.give({ bytes: memory.slice(pages, lead + size), open: written.open })
      const file = await outputs.open(output)
      if (!intact) {
        const holes = holesOf([...given?.open ?? [], ...written.open], position - lead, pages)
        // Who writes the open seals may have done so already, if this is done twice.
        if (holes.length > 0) await file.writeAround(memory, pages, position - lead, holes)
        else await write(output, file, memory, pages, position - lead)
        bytesWritten += size
      }
      onWindow?.(output.name, written)
    } catch (error) {
      after?.fail(error)
      throw error
    }
    progress?.(size)
    outputs.written(output)
  }
  try {
    const windows = blockLoop(session, tasks(), {
      sizeOf: ({ window: { position, size } }) => position % PAGE + size,
      take,
      keep: false,
      signal: AbortSignal.any([signal, stop.signal]),
      onFailure: (error) => assembly.fail(error)
    })
    for await (const _ of windows);
    await outputs.settle()
    stop.signal.throwIfAborted()
    const { arrays, changed } = assembly
    yield { files: finished, arrays, bytesWritten, bytesRead: context.files.bytesRead, changed }
  } finally {
    await outputs.close()
  }
}

/** Where of the `size` bytes from `start` of the file on nothing is known, ascending; addresses count from `start`. */
const holesOf = (open: ReadonlyArray<OpenSeal>, start: number, size: number): ReadonlyArray<AddressRange> =>
  open
    .map(({ from, position, to }) => ({ start: Math.max(0, position - start), end: Math.min(size, position - start + to - from) }))
    .filter((hole) => hole.end > hole.start)
    .sort((a, b) => a.start - b.start)

/** Does a file have these bytes at a position? */
const isAt = async (files: SourceFiles, path: string, position: number, expected: Uint8Array, room: Uint8Array): Promise<boolean> => {
  const bytes = room.subarray(0, expected.byteLength)
  await files.readInto(path, bytes, position)
  return Buffer.compare(bytes, expected) === 0
}
