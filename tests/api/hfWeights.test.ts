/** The weight stream: pieces of bounded size in bounded memory, or whole tensors. Memory is counted in buffers, not measured. */
import { Effect, Layer, Stream } from "effect"
import { describe, expect, it } from "vitest"
import { settingsOf } from "../../src/engine/internal/Settings.ts"
import { Disk, type HfWeight, MegatronMimoBridge, streamHfWeights, type WeightStreamOptions } from "../../src/index.ts"
import { type DiskCalls, nodeCalls } from "../../src/io/Disk.ts"
import { bytesOf } from "../../src/tensor/DType.ts"
import { openSafetensors } from "../../src/safetensors/SafetensorsDirectory.ts"
import { readTensor } from "../../src/safetensors/Reader.ts"
import { BLOCK, importedSample, SMALL } from "./importedSample.ts"

const { hf, megatron, model } = importedSample("weights")

const all = async (options?: WeightStreamOptions): Promise<ReadonlyArray<HfWeight>> => {
  const found: Array<HfWeight> = []
  for await (const weight of streamHfWeights(model(), megatron, options)) found.push(weight)
  return found
}

const joined = (pieces: ReadonlyArray<HfWeight>) => Buffer.concat(pieces.map((p) => p.bytes))

describe("bounded pieces", () => {
  it("follow one another without gaps, and the last one says so", async () => {
    const pieces = await all(SMALL)
    const byName = Map.groupBy(pieces, (p) => p.name)
    expect(pieces.length).toBeGreaterThan(byName.size)
    for (const [name, own] of byName) {
      let at = 0
      for (const [i, { bytes, last, offset }] of own.entries()) {
        expect([offset, last], name).toEqual([at, i === own.length - 1])
        at += bytes.byteLength
      }
    }
    // No tensor is begun before the last one has ended.
    expect(new Set(pieces.filter((p) => p.offset === 0).map((p) => p.name)).size).toBe(byName.size)
    expect(pieces.every((p, i) => p.offset === 0 || pieces[i - 1]!.name === p.name)).toBe(true)
  })

  it("hold the tensors of the model, bit for bit", async () => {
    const source = await Effect.runPromise(openSafetensors(hf).pipe(Effect.provide(Disk.layer)))
    const byName = Map.groupBy(await all(SMALL), (p) => p.name)
    expect([...byName.keys()].sort()).toEqual([...source.tensors.keys()].sort())
    for (const [name, own] of byName) {
      const bytes = await Effect.runPromise(readTensor(source, name).pipe(Effect.provide(Disk.layer)))
      expect(joined(own).equals(bytes), name).toBe(true)
    }
  })

  it("are of bounded size, in memory of their own; what fits is not divided", async () => {
    for (const { bytes, dtype, last, offset, shape } of await all(SMALL)) {
      expect(bytes.byteLength).toBeLessThanOrEqual(settingsOf(SMALL).sizes.wide)
      expect(bytes.buffer.byteLength).toBe(bytes.byteLength)
      if (shape.reduce((n, extent) => n * extent, bytesOf(dtype)) <= BLOCK) expect([offset, last]).toEqual([0, true])
    }
    expect((await all()).every((p) => p.last && p.offset === 0)).toBe(true)
  })

  it("are read when they are asked for: ahead of the reader lies no more than the engine's memory", async () => {
    let read = 0
    const counting: DiskCalls = {
      ...nodeCalls,
      open: async (...args) => {
        const file = await nodeCalls.open(...args)
        return { ...file, read: async (into, position) => {
          const n = await file.read(into, position)
          if (args[0].endsWith(".distcp")) read += n
          return n
        } }
      }
    }
    let [given, furthest, headers] = [0, 0, 0]
    await Effect.runPromise(Effect.gen(function*() {
      const bridge = yield* MegatronMimoBridge.fromHfPretrained(hf, { components: model().components })
      yield* bridge.streamHfWeights(megatron, SMALL).pipe(Stream.runForEach(({ bytes }) => Effect.promise(async () => {
        // A slow reader: whatever is going to be read ahead is.
        if (given === 0) await new Promise((resolve) => setTimeout(resolve, 20))
        if (given === 0) headers = read
        await new Promise((resolve) => setImmediate(resolve))
        given += bytes.byteLength
        furthest = Math.max(furthest, read - headers - given)
      })))
    }).pipe(Effect.provide(Layer.succeed(Disk, counting))))
    expect(given).toBeGreaterThan(3 * settingsOf(SMALL).memory)
    expect(furthest).toBeLessThan(settingsOf(SMALL).memory)
  })
})

describe("whole tensors", () => {
  it("are one piece each, in memory of exactly their size", async () => {
    const [whole, pieces] = [await all({ ...SMALL, pieces: "whole" }), await all(SMALL)]
    const byName = Map.groupBy(pieces, (p) => p.name)
    expect(whole.map((w) => w.name)).toEqual([...byName.keys()])
    for (const { bytes, last, name, offset } of whole) {
      expect([offset, last, bytes.buffer.byteLength]).toEqual([0, true, bytes.byteLength])
      expect(joined(byName.get(name)!).equals(bytes), name).toBe(true)
    }
  })
})
