/** Statistics of weights, whatever the cutting. */
import { describe, expect, it } from "vitest"
import { Gatherer, looksWrong } from "../../src/inspect/Statistics.ts"
import type { DType } from "../../src/tensor/DType.ts"
import { random } from "../tensor/random.ts"

/** In [0, 1). */
const uniform = (seed: number) => {
  const next = random(seed)
  return () => next(1 << 24) / (1 << 24)
}

const gather = (dtype: DType, ...blocks: ReadonlyArray<Uint8Array>) => {
  const gatherer = new Gatherer(dtype)
  for (const block of blocks) gatherer.add(block)
  return gatherer.result()
}

const bytes = (array: ArrayBufferView): Uint8Array => new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
const bf16 = (...values: ReadonlyArray<number>): Uint8Array => {
  const bits = new Uint32Array(Float32Array.from(values).buffer)
  return bytes(Uint16Array.from(bits, (b) => b >>> 16))
}

describe("by type", () => {
  it("BF16", () => {
    expect(gather("BF16", bf16(1, -3, 0, 2))).toEqual({ elements: 4, min: -3, max: 2, mean: 0, std: Math.sqrt(3.5), zeros: 1, nans: 0, infinities: 0, tiny: 0, huge: 0 })
  })

  it("F32, with what is no number counted apart", () => {
    expect(gather("F32", bytes(Float32Array.of(NaN, Infinity, -Infinity, 4, 2)))).toMatchObject({ elements: 5, min: 2, max: 4, mean: 3, std: 1, nans: 1, infinities: 2 })
  })

  it("F8_E4M3: 0x7f is NaN, 0x7e is 448", () => {
    expect(gather("F8_E4M3", Uint8Array.of(0x7f, 0x7e, 0x00, 0x38))).toMatchObject({ elements: 4, max: 448, min: 0, nans: 1, zeros: 1 })
  })

  it("F8_E5M2: 0x7c is infinite", () => {
    expect(gather("F8_E5M2", Uint8Array.of(0x7c, 0x3c, 0xbc))).toMatchObject({ infinities: 1, min: -1, max: 1 })
  })

  it("F16, integers, booleans", () => {
    expect(gather("F16", bytes(Uint16Array.of(0x3c00, 0xc000)))).toMatchObject({ min: -2, max: 1 })
    expect(gather("I8", Uint8Array.of(0xff, 0x7f))).toMatchObject({ min: -1, max: 127 })
    expect(gather("I64", bytes(BigInt64Array.of(-5n, 7n)))).toMatchObject({ min: -5, max: 7, mean: 1 })
    expect(gather("BOOL", Uint8Array.of(1, 0, 1))).toMatchObject({ zeros: 1, max: 1 })
  })

  it("nothing has no mean", () => {
    expect(gather("BF16")).toEqual({ elements: 0, zeros: 0, nans: 0, infinities: 0, tiny: 0, huge: 0 })
    expect(gather("F32", bytes(Float32Array.of(NaN)))).not.toHaveProperty("mean")
  })
})

describe("cutting", () => {
  it.each(["BF16", "F32"] as const)("%s: many small blocks give what one large one gives", (dtype) => {
    const next = uniform(7)
    const data = new Uint8Array(400_000)
    for (let i = 0; i < data.length; i += 4) {
      const value = new Uint8Array(Float32Array.of((next() - 0.5) * 0.1).buffer)
      if (dtype === "F32") data.set(value, i)
      else data.set([value[2]!, value[3]!, value[2]!, value[3]!], i)
    }
    const whole = gather(dtype, data)
    const cut = gather(dtype, ...Array.from({ length: 100 }, (_, i) => data.subarray(i * 4000, (i + 1) * 4000)))
    expect(cut.elements).toBe(whole.elements)
    expect(cut.min).toBe(whole.min)
    expect(cut.max).toBe(whole.max)
    expect(cut.mean!).toBeCloseTo(whole.mean!, 12)
    expect(cut.std!).toBeCloseTo(whole.std!, 12)
  })
})

describe("suspicions", () => {
  it("packed FP8 read as BF16 shows itself by its magnitudes", () => {
    const next = uniform(3)
    const packed = Uint8Array.from({ length: 20_000 }, () => Math.floor(next() * 256))
    expect(looksWrong("BF16", gather("BF16", packed))).toMatch(/NaN|bytes of another type/)
    const noNan = Uint8Array.from({ length: 20_000 }, (_, i) => (i % 2 === 0 ? Math.floor(next() * 256) : 0x20 + Math.floor(next() * 0x50)))
    expect(looksWrong("BF16", gather("BF16", noNan))).toContain("bytes of another type")
  })

  it("weights, norms and zeros are no cause", () => {
    const next = uniform(5)
    expect(looksWrong("BF16", gather("BF16", bf16(...Array.from({ length: 5000 }, () => (next() - 0.5) * 0.04))))).toBeUndefined()
    expect(looksWrong("BF16", gather("BF16", bf16(1, 1, 1, 0)))).toBeUndefined()
    expect(looksWrong("U8", gather("U8", Uint8Array.of(1, 2)))).toBeUndefined()
  })
})
