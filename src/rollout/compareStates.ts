/**
 * Two states of one model, read side by side: what differs becomes the shards of a delta. Several lanes, so that all cores compress. Read
 * twice is only a new tensor of which the first bytes are as they were, where the sums of the old ones are known: nobody summed those.
 */
import { Effect, Stream } from "effect"
import { availableParallelism } from "node:os"
import { type ArrayChunk, type EngineLimits, ENGINE_DEFAULTS, stream, type TargetArray } from "../engine/index.ts"
import { converting, toPromise } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { volume } from "../tensor/Copy.ts"
import { bitsOf } from "../tensor/DType.ts"
import { Hashers, type SummedTensor } from "./checksums.ts"
import { type DeltaEncoding, DeltaWriter } from "./DeltaWriter.ts"
import { ShardWriter, type WrittenShard } from "./ShardWriter.ts"

export interface StatePair {
  /** Tensors of both, in the order of the model. */
  readonly names: ReadonlyArray<string>
  readonly old: (name: string) => TargetArray
  readonly now: (name: string) => TargetArray
}

export interface CompareRun extends EngineLimits {
  readonly encoding: DeltaEncoding
  /** Sums of old tensors that are known. */
  readonly oldSums: ReadonlyMap<string, string>
  /** Where shards are written. */
  readonly directory: string
  readonly progress?: ((bytes: number) => void) | undefined
}

export interface ComparedStates {
  readonly old: ReadonlyMap<string, SummedTensor>
  readonly now: ReadonlyMap<string, SummedTensor>
  readonly changed: ReadonlyArray<string>
  readonly shards: ReadonlyArray<WrittenShard>
}

/** Less than this is not worth a lane of its own. */
const LANE_BYTES = 64 << 20
/** libuv compresses in four threads. */
const MOST_LANES = 4

const sizeOf = ({ dtype, shape }: Pick<TargetArray, "dtype" | "shape">): number => Math.ceil((volume(shape) * bitsOf(dtype)) / 8)

/** Runs of neighbouring tensors, of about as many bytes each. */
const lanesOf = ({ names, now }: StatePair): ReadonlyArray<ReadonlyArray<string>> => {
  const sizes = names.map((name) => sizeOf(now(name)))
  const total = sizes.reduce((sum, n) => sum + n, 0)
  const count = Math.max(1, Math.min(MOST_LANES, availableParallelism(), Math.floor(total / LANE_BYTES)))
  const lanes: Array<Array<string>> = Array.from({ length: count }, () => [])
  let before = 0
  names.forEach((name, i) => {
    lanes[Math.min(count - 1, Math.floor((before / Math.max(1, total)) * count))]!.push(name)
    before += sizes[i]!
  })
  return lanes.filter((lane) => lane.length > 0)
}

/** Compare, and write what differs. Files are named after their lane; the caller names them anew. */
export const compareStates = Effect.fnUntraced(function*(pair: StatePair, { directory, encoding, oldSums, progress, ...limits }: CompareRun) {
  const disk = yield* Disk
  const context = yield* Effect.context<Disk>()
  const lanes = lanesOf(pair)
  const { maxMemory = ENGINE_DEFAULTS.maxMemory * 2, threads: _, ...rest } = limits
  const engine = { ...rest, concurrency: 2, maxMemory: maxMemory / (2 * Math.max(1, lanes.length)), lend: true }
  const hashers = new Hashers()
  const sumAgain = async (name: string): Promise<string> => {
    const hasher = await hashers.take()
    const bytes = stream([pair.now(name)], engine)
    await toPromise(Effect.provideContext(Stream.runForEach(bytes, (chunk) => Effect.sync(() => { hasher.update(chunk.bytes) })), context))
    return hashers.finish(hasher)
  }
  const compareLane = (lane: ReadonlyArray<string>, number: number) => Effect.scoped(Effect.gen(function*() {
    const { shards, writer } = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const own = new ShardWriter(disk, directory, `part-${number}-`)
        return { shards: own, writer: new DeltaWriter({ shards: own, encoding, oldSums, sumAgain }) }
      }),
      ({ shards: own, writer: delta }) => Effect.promise(async () => {
        delta.destroy()
        await own.abandon()
      })
    )
    const add = async (a: ArrayChunk, b: ArrayChunk): Promise<void> => {
      const { dtype, id, shape } = b.array
      if (id !== a.array.id || a.offset !== b.offset || a.bytes.byteLength !== b.bytes.byteLength) throw new RangeError(`the blocks of ${id} and ${a.array.id} are cut differently`)
      await writer.add({ name: id, dtype, shape, size: sizeOf(b.array), offset: b.offset, old: a.bytes, now: b.bytes, last: b.last })
      progress?.(b.bytes.byteLength)
    }
    const arrays = (side: (name: string) => TargetArray) => Iterator.from(lane).map(side)
    yield* Stream.zipWith(stream(arrays(pair.old), engine), stream(arrays(pair.now), engine), (a, b) => [a, b] as const).pipe(
      Stream.runForEach(([a, b]) => Effect.uninterruptible(converting(() => add(a, b))))
    )
    yield* converting(() => shards.finish())
    return { writer, shards: shards.shards }
  }))
  const done = yield* Effect.forEach(lanes, compareLane, { concurrency: "unbounded" })
  return {
    old: new Map(done.flatMap(({ writer }) => [...writer.old])),
    now: new Map(done.flatMap(({ writer }) => [...writer.now])),
    changed: done.flatMap(({ writer }) => writer.changed),
    shards: done.flatMap((lane) => lane.shards)
  } satisfies ComparedStates as ComparedStates
})
