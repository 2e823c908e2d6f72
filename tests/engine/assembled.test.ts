/** The three uses of assembled arrays besides writing: hashing, streaming, comparing. */
import { Effect, Stream } from "effect"
import { createHash } from "node:crypto"
import { describe, expect, it } from "vitest"
import { sumsWithin } from "../../src/arithmetic/matrixSums.ts"
import { widened } from "../../src/arithmetic/convert.ts"
import { plain } from "../../src/arithmetic/plain.ts"
import { compare } from "../../src/engine/internal/compare.ts"
import { digest } from "../../src/engine/internal/digest.ts"
import type { EngineOptions } from "../../src/engine/internal/Settings.ts"
import { stream } from "../../src/engine/internal/stream.ts"
import type { SourceArray, TargetArray } from "../../src/engine/internal/Target.ts"
import { identity, volume } from "../../src/tensor/Copy.ts"
import { bytesOf, type DType } from "../../src/tensor/DType.ts"
import { diskWith, MemoryDisk } from "./MemoryDisk.ts"
import { weights } from "../arithmetic/drivers.ts"
import { random } from "../tensor/random.ts"
import { expectedBytes, randomWorld, type World } from "./randomLayouts.ts"

const SMALL: EngineOptions = { sizes: { block: 192, wide: 1500, read: 300, work: 512 }, gap: 20 }
const worlds = (count: number): Array<World> =>
  Array.from({ length: count }, (_, seed) => {
    const next = random(seed + 1)
    return randomWorld(next, 1 + next(8), ["U8", "BF16", "F32", "I64"], 12)
  })

describe.each([["small blocks", SMALL], ["usual sizes", {}]] as const)("with %s", (_, options) => {
  it("an array's digest is that of its bytes", async () => {
    for (const world of worlds(20)) {
      const found = await diskWith(world.files).run(Stream.runCollect(digest(world.arrays, options)))
      expect(found).toEqual(world.arrays.map((array) => ({
        id: array.id,
        sha256: createHash("sha256").update(expectedBytes(world, array)).digest("hex")
      })))
    }
  })

  it("the chunks of an array, in order, are its bytes", async () => {
    for (const world of worlds(20)) {
      const chunks = await diskWith(world.files).run(Stream.runCollect(stream(world.arrays, options)))
      const arrays: Array<Buffer> = []
      let parts: Array<Uint8Array> = []
      for (const { bytes, last, offset } of chunks) {
        expect(offset).toBe(parts.reduce((sum, p) => sum + p.byteLength, 0))
        parts.push(bytes)
        if (!last) continue
        arrays.push(Buffer.concat(parts))
        parts = []
      }
      expect(parts).toEqual([])
      expect(arrays.map((b) => b.toString("hex"))).toEqual(
        world.arrays.map((array) => Buffer.from(expectedBytes(world, array)).toString("hex"))
      )
    }
  })

  it("an array that changes its elements is given each whole, wherever blocks cut it", async () => {
    for (const world of worlds(20)) {
      const adjustOf = ({ dtype }: TargetArray) => (bytes: Uint8Array, first: number): void => {
        for (let i = 0; i < bytes.byteLength; i++) bytes[i]! ^= first + Math.floor(i / bytesOf(dtype))
      }
      const arrays = world.arrays.map((array): TargetArray => ({ ...array, adjust: { bytes: adjustOf(array) } }))
      const found = await diskWith(world.files).run(Stream.runCollect(digest(arrays, options)))
      expect(found.map(({ sha256 }) => sha256)).toEqual(arrays.map((array) => {
        const bytes = Uint8Array.from(expectedBytes(world, array))
        adjustOf(array)(bytes, 0)
        return createHash("sha256").update(bytes).digest("hex")
      }))
    }
  })

  it("products are added to each element, wherever blocks cut rows and elements", async () => {
    const [rows, columns] = [7, 13]
    const lead = 5
    for (const dtype of ["BF16", "F32"] as const) {
      const addends = [1, 2].map((seed) => ({ scale: 0.5, left: weights("BF16", rows, 2, seed), right: weights("BF16", 2, columns, seed + 5) }))
      const stored = weights(dtype, 2 * rows, columns, 3).bytes
      const file = new Uint8Array(lead + stored.byteLength)
      file.set(stored, lead)
      const shape = [2 * rows, columns]
      const array: TargetArray = {
        id: "w",
        dtype,
        shape,
        copies: () => [identity<SourceArray>({ path: "/stored", offset: lead, dtype, shape }, "w", shape)],
        adjust: { sums: (at, first, count) => sumsWithin(addends.map((addend) => ({ elements: rows * columns, sum: { columns, dtype, steps: "once", addends: [addend] } })), at, first, count) }
      }
      const size = stored.byteLength / 2
      const expected = addends.map(({ left, right, scale }, i) =>
        plain.addProduct({ dtype, rows, columns, bytes: stored.subarray(i * size, (i + 1) * size) }, { a: widened(left), m: rows, b: right, transposed: false }, scale, "once"))
      const cut = { ...options, ...("sizes" in options ? { sizes: { block: 61, wide: 61, read: 300, work: 2048 } } : {}) }
      const [found] = await diskWith(new Map([["/stored", file]])).run(Stream.runCollect(digest([array], cut)))
      expect(found!.sha256).toBe(createHash("sha256").update(Buffer.concat(expected)).digest("hex"))
    }
  })

  it("an array equals what was written of it, and one flipped bit is found", async () => {
    for (const [seed, world] of worlds(20).entries()) {
      const next = random(seed)
      const flipped = new Map<string, number>()
      const pairs = world.arrays.map((array, i) => {
        const path = `/stored ${i}`
        const stored = expectedBytes(world, array)
        if (stored.byteLength > 0 && next(2) === 0) {
          const at = next(stored.byteLength)
          stored[at]! ^= 1 << next(8)
          flipped.set(array.id, Math.floor(at / bytesOf(array.dtype)))
        }
        world.files.set(path, stored)
        return { array, with: { path, offset: 0, dtype: array.dtype, shape: array.shape } }
      })
      const found = await diskWith(world.files).run(Stream.runCollect(compare(pairs, options)))
      expect(found.map(({ id, equal, elements, differing, firstDifference }) => [id, equal, elements, differing, firstDifference?.element]))
        .toEqual(world.arrays.map((array) => {
          const at = flipped.get(array.id)
          return [array.id, at === undefined, volume(array.shape), at === undefined ? 0 : 1, at]
        }))
    }
  })
})

describe("chunks that are lent", () => {
  it("hold their bytes until the next one is asked for", async () => {
    for (const world of worlds(20)) {
      const hashes = new Map(world.arrays.map((array) => [array.id, createHash("sha256")]))
      await diskWith(world.files).run(
        Stream.runForEach(stream(world.arrays, { ...SMALL, lend: true }), ({ array, bytes }) =>
          Effect.promise(async () => {
            await new Promise((resolve) => setImmediate(resolve))
            hashes.get(array.id)!.update(bytes)
          }))
      )
      for (const array of world.arrays) {
        const whole = createHash("sha256").update(expectedBytes(world, array)).digest("hex")
        expect(hashes.get(array.id)!.digest("hex")).toBe(whole)
      }
    }
  })
})

describe("a difference", () => {
  const compared = async (dtype: DType, assembled: Uint8Array, stored: Uint8Array) => {
    const disk = new MemoryDisk()
    disk.files.set("/a", assembled)
    disk.files.set("/b", stored)
    const shape = [assembled.byteLength / bytesOf(dtype)]
    const a: SourceArray = { path: "/a", offset: 0, dtype, shape }
    const array: TargetArray = { id: "w", dtype, shape, copies: () => [identity(a, "w", shape)] }
    const all = await disk.run(Stream.runCollect(compare([{ array, with: { ...a, path: "/b" } }])))
    return all[0]!
  }
  const f32 = (...values: Array<number>) => new Uint8Array(Float32Array.from(values).buffer)

  it("is measured in floating dtypes", async () => {
    expect(await compared("F32", f32(1, 2, 3, 4), f32(1, 2.5, 3, 1))).toEqual({
      id: "w",
      equal: false,
      elements: 4,
      differing: 2,
      maxAbsDiff: 3,
      firstDifference: { element: 1, assembled: "2", stored: "2.5" }
    })
  })

  it("between a number and none is infinite", async () => {
    expect((await compared("F32", f32(1, NaN), f32(1, 5))).maxAbsDiff).toBe(Infinity)
  })

  it("is of bits: zeros of both signs differ, by nothing", async () => {
    expect(await compared("F32", f32(0), f32(-0))).toMatchObject({ equal: false, differing: 1, maxAbsDiff: 0 })
  })

  it("of other dtypes is shown in hexadecimal", async () => {
    expect((await compared("I16", Uint8Array.of(1, 2), Uint8Array.of(1, 3))).firstDifference)
      .toEqual({ element: 0, assembled: "0x0201", stored: "0x0301" })
  })

  it("cannot be asked for between different dtypes or shapes", async () => {
    const a: SourceArray = { path: "/a", offset: 0, dtype: "F32", shape: [2] }
    const array: TargetArray = { id: "w", dtype: "F32", shape: [2], copies: () => [identity(a, "w", [2])] }
    const run = (stored: SourceArray) =>
      new MemoryDisk().run(Stream.runCollect(compare([{ array, with: stored }])))
    await expect(run({ ...a, dtype: "BF16" })).rejects.toThrow("w: F32 [2] cannot equal BF16 [2]")
    await expect(run({ ...a, shape: [1, 2] })).rejects.toThrow("w: F32 [2] cannot equal F32 [1,2]")
  })
})

it("a stream assembles no further ahead than its memory", async () => {
  const disk = new MemoryDisk()
  const length = 1 << 20
  disk.files.set("/a", new Uint8Array(length))
  const source: SourceArray = { path: "/a", offset: 0, dtype: "U8", shape: [length] }
  const array: TargetArray = { id: "w", dtype: "U8", shape: [length], copies: () => [identity(source, "w", [length])] }
  const options: EngineOptions = { concurrency: 2, maxMemory: 1, sizes: { block: 4096, wide: 4096, read: 4096, work: 8192 } }
  const reads = () => disk.calls.filter((c) => c.call === "read").length
  const taken = await disk.run(stream([array], options).pipe(
    Stream.take(3),
    Stream.mapEffect(() => Effect.promise(async () => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      return reads()
    })),
    Stream.runCollect
  ))
  expect(taken).toEqual([2, 3, 4])
  expect(disk.open).toBe(0)
})
