/**
 * Do the sources still give what was written? They are read once more, and what they give is summed instead of written: the one
 * answer that depends neither on names nor on times.
 */
import { Effect, Stream } from "effect"
import { type ArrayChunk, type EngineLimits, stream, type TargetFile } from "../../engine/index.ts"
import { crc32, crc32Combine } from "../../torch/Crc32.ts"
import { type FileChecksums, hexOf } from "./Checksums.ts"

export interface ContentOptions extends EngineLimits {
  /** Called with the bytes read since the last call. */
  readonly progress?: (bytes: number) => void
}

/** Takes the chunks of all arrays of the files, in order; returns the first file that differs from its checksums. */
const comparing = function*(
  files: ReadonlyArray<TargetFile>,
  recorded: ReadonlyMap<string, FileChecksums>
): Generator<void, string | undefined, ArrayChunk> {
  for (const { name, segments, size } of files) {
    let whole = 0
    let array = 0
    for (const segment of segments) {
      if (segment.kind !== "array") {
        const bytes = segment.kind === "bytes" ? segment.bytes : segment.bytes(array)
        whole = crc32Combine(whole, crc32(bytes), bytes.byteLength)
        continue
      }
      array = 0
      for (let last = false; !last;) {
        const chunk = yield
        const own = crc32(chunk.bytes)
        array = crc32Combine(array, own, chunk.bytes.byteLength)
        whole = crc32Combine(whole, own, chunk.bytes.byteLength)
        last = chunk.last
      }
    }
    const known = recorded.get(name)
    if (known?.size !== size || known.crc32 !== hexOf(whole)) return name
  }
  return undefined
}

/** The first of `files` that the sources do not give as `recorded` has it; undefined if there is none. */
export const firstDifferent = Effect.fnUntraced(function*(
  files: ReadonlyArray<TargetFile>,
  recorded: ReadonlyMap<string, FileChecksums>,
  { progress, ...options }: ContentOptions
) {
  const comparison = comparing(files, recorded)
  let state = comparison.next()
  const arrays = files.flatMap(({ segments }) => segments.flatMap((segment) => (segment.kind === "array" ? [segment.array] : [])))
  yield* stream(arrays, { ...options, lend: true }).pipe(
    Stream.takeWhile(() => !state.done),
    Stream.runForEach((chunk) => Effect.sync(() => {
      state = comparison.next(chunk)
      progress?.(chunk.bytes.byteLength)
    }))
  )
  return state.done ? state.value : undefined
})
