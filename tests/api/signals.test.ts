/** Stopping work from outside, and being told how far it is. */
import { Effect, Layer, Stream } from "effect"
import { existsSync, readdirSync, rmSync, truncateSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import {
  checkpoints, conversionPlan, diffCheckpoints, Disk, exportCheckpoint, importCheckpoint, inspectCheckpoint, MegatronMimoBridge, type Phase,
  type Progress, relabelCheckpoint, roundtripCheckpoint, streamHfWeights, verifyCheckpoint
} from "../../src/index.ts"
import { toAsyncIterable, toPromise } from "../../src/io/attempt.ts"
import { type DiskCalls, nodeCalls } from "../../src/io/Disk.ts"
import { fresh } from "../relabel/checkpoints.ts"
import { importedSample, SMALL } from "./importedSample.ts"

const { work, hf, megatron, model } = importedSample("signals")

const reason = new Error("the job was cancelled")

describe("an aborted signal", () => {
  it("that was aborted before: nothing begins", async () => {
    const target = fresh(work)
    await expect(importCheckpoint(model(), target, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    await expect(inspectCheckpoint(join(work, "nowhere"), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(existsSync(target)).toBe(false)
  })

  it("in the middle of it: rejects with the signal's reason, and the target is what it was", async () => {
    const target = fresh(work)
    const stop = new AbortController()
    const onProgress = ({ done }: Progress) => { if (done > 0) stop.abort(reason) }
    await expect(importCheckpoint(model(), target, { signal: stop.signal, onProgress, maxMemory: 1, concurrency: 1 })).rejects.toBe(reason)
    expect(existsSync(target)).toBe(false)
  })

  it("a reason that is no error is passed on as it is; without one, it is the AbortError of the platform", async () => {
    await expect(conversionPlan(model(), { signal: AbortSignal.abort("enough") })).rejects.toBe("enough")
    await expect(conversionPlan(model(), { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" })
  })

  it("after the work: the answer stands", async () => {
    const stop = new AbortController()
    const report = await conversionPlan(model(), { signal: stop.signal })
    stop.abort(reason)
    expect(report.sourceTensors).toBeGreaterThan(0)
  })

  it("a failure of the work itself is that failure", async () => {
    const { signal } = new AbortController()
    await expect(inspectCheckpoint(join(work, "nowhere"), { signal })).rejects.toMatchObject({ _tag: "InvalidFile" })
  })
})

/** A disk that counts the files that are open. */
const counting = () => {
  let open = 0
  const calls: DiskCalls = {
    ...nodeCalls,
    open: async (...args) => {
      const file = await nodeCalls.open(...args)
      open++
      return { ...file, close: () => file.close().finally(() => { open-- }) }
    }
  }
  return { layer: Layer.succeed(Disk, calls), opened: () => open }
}

describe("a stream of weights", () => {
  const weights = (layer: Layer.Layer<Disk>, signal?: AbortSignal) =>
    toAsyncIterable(
      Stream.unwrap(Effect.map(MegatronMimoBridge.fromHfPretrained(hf, model()), (b) => b.streamHfWeights(megatron, SMALL))).pipe(Stream.provide(layer)),
      signal
    )

  it("ends with the signal's reason, and gives nothing more", async () => {
    const stop = new AbortController()
    let pieces = 0
    const loop = async () => {
      for await (const _ of streamHfWeights(model(), megatron, { ...SMALL, signal: stop.signal })) if (++pieces === 2) stop.abort(reason)
    }
    await expect(loop()).rejects.toBe(reason)
    expect(pieces).toBe(2)
  })

  it("closes what it holds while the loop's body still runs", async () => {
    const { layer, opened } = counting()
    const stop = new AbortController()
    const iterator = weights(layer, stop.signal)[Symbol.asyncIterator]()
    await iterator.next()
    expect(opened()).toBeGreaterThan(0)
    stop.abort(reason)
    await expect.poll(opened).toBe(0)
    await expect(iterator.next()).rejects.toBe(reason)
    await expect(iterator.next()).rejects.toBe(reason)
  })

  it("while a piece is asked for", async () => {
    const { layer, opened } = counting()
    const stop = new AbortController()
    const iterator = weights(layer, stop.signal)[Symbol.asyncIterator]()
    const asked = iterator.next()
    stop.abort(reason)
    await expect(asked).rejects.toBe(reason)
    expect(opened()).toBe(0)
  })

  it("that was aborted before: reads nothing", async () => {
    const { layer, opened } = counting()
    await expect(weights(layer, AbortSignal.abort(reason))[Symbol.asyncIterator]().next()).rejects.toBe(reason)
    expect(opened()).toBe(0)
  })

  it("closes when the loop is left, and when it ends", async () => {
    for (const most of [1, Infinity]) {
      const { layer, opened } = counting()
      let pieces = 0
      for await (const _ of weights(layer)) if (++pieces === most) break
      expect([pieces > 0, opened()]).toEqual([true, 0])
    }
  })

  it("ends with the error of its source", async () => {
    const damaged = fresh(work)
    await importCheckpoint(model(), damaged)
    for (const name of readdirSync(join(damaged, "iter_0000000"))) if (name.endsWith(".distcp")) truncateSync(join(damaged, "iter_0000000", name), 100)
    const loop = async () => { for await (const _ of streamHfWeights(model(), damaged)); }
    await expect(loop()).rejects.toMatchObject({ _tag: "InvalidFile" })
  })
})

describe("progress", () => {
  /** What was told; of every phase: it begins at 0, never decreases, and ends with what it said it would be. */
  const told = async (work: (onProgress: (progress: Progress) => void) => Promise<unknown>) => {
    const seen: Array<Progress> = []
    await work((progress) => { seen.push(progress) })
    const phases = Map.groupBy(seen, ({ phase }) => phase)
    for (const [phase, own] of phases) {
      expect(own[0], phase).toMatchObject({ done: 0 })
      expect(own.every(({ done, total }, i) => done >= (own[i - 1]?.done ?? 0) && total === own[0]!.total), phase).toBe(true)
      expect(own.at(-1)!.done, phase).toBe(own[0]!.total)
    }
    return [...phases].map(([phase, own]) => [phase, own[0]!.total > 0, own.length > 2]) satisfies ReadonlyArray<[Phase, boolean, boolean]>
  }

  it.each<[string, ReadonlyArray<string>, (onProgress: (progress: Progress) => void) => Promise<unknown>]>([
    ["an import", ["importing"], (onProgress) => importCheckpoint(model(), fresh(work), { onProgress, maxMemory: 1 })],
    ["an export", ["exporting"], (onProgress) => exportCheckpoint(model(), megatron, fresh(work), { onProgress, maxMemory: 1 })],
    ["a verification", ["comparing"], (onProgress) => verifyCheckpoint(model(), megatron, { onProgress })],
    ["a diff", ["comparing"], (onProgress) => diffCheckpoints(hf, megatron, { onProgress })],
    ["statistics", ["reading"], (onProgress) => inspectCheckpoint(megatron, { statistics: true, onProgress })],
    ["a relabelling", ["relabelling"], (onProgress) => relabelCheckpoint(megatron, fresh(work), { to: ["standard"], onProgress })],
    ["a round trip", ["importing", "exporting", "comparing"], (onProgress) => roundtripCheckpoint(hf, { onProgress, maxMemory: 1 })],
    ["a stream", ["reading"], async (onProgress) => { for await (const _ of streamHfWeights(model(), megatron, { ...SMALL, onProgress })); }]
  ])("of %s", async (_, phases, work) => {
    expect(await told(work)).toEqual(phases.map((phase) => [phase, true, true]))
  })

  it("of an Effect", async () => {
    expect(await told((onProgress) => toPromise(checkpoints.diff(hf, megatron, { onProgress }).pipe(Effect.provide(Disk.layer))))).toEqual([["comparing", true, true]])
  })

  it("what it throws ends the work, and nothing is published", async () => {
    const target = fresh(work)
    await expect(importCheckpoint(model(), target, { onProgress: () => { throw reason } })).rejects.toBe(reason)
    expect(existsSync(target)).toBe(false)
    rmSync(target, { recursive: true, force: true })
  })
})
