import { describe, expect, it } from "vitest"
import { bytesOf } from "../../../src/tensor/DType.ts"
import { addKernel } from "../../../src/tensor/kernels/add.ts"
import { castKernel } from "../../../src/tensor/kernels/cast.ts"
import { restoreKernel } from "../../../src/tensor/kernels/restore.ts"
import { applied, digestOf, type Float, floats, inputs } from "./sweeps.ts"

/** Made with torch 2.13 on x86-64: `x + constant` over the same inputs as for the casts. */
const TORCH: ReadonlyArray<readonly [dtype: Float, constant: number, digest: string]> = [
  ["BF16", 1, "82193d421a6841cb"],
  ["BF16", -1, "edf1ec5dc099b407"],
  ["BF16", 0.1, "c513b687f4188ed2"],
  ["F16", 1, "7150536865e6b9b3"],
  ["F16", -1, "598ad050b38e6778"],
  ["F16", 0.1, "8c4ba0b610f8d3d2"],
  ["F32", 1, "0ee2c293803593f3"],
  ["F32", -1, "b5f3410ecdf64f88"],
  ["F32", 0.1, "68ca5961a017f913"],
  ["F64", 1, "bb2df9731c3d0b7f"],
  ["F64", -1, "ef8547120e851809"],
  ["F64", 0.1, "ac9f9f630eee572a"]
]

const f32 = (...values: Array<number>): Uint8Array => new Uint8Array(Float32Array.from(values).buffer)
const values = (bytes: Uint8Array): Array<number> => [...new Float32Array(bytes.slice().buffer)]

/** Some 60 000 of the inputs. */
const sample = (dtype: Float): Uint8Array => {
  const all = inputs(dtype)
  const width = bytesOf(dtype)
  const step = width * Math.max(1, Math.floor(all.byteLength / width / 60_007))
  return new Uint8Array(Buffer.concat(Array.from({ length: Math.floor(all.byteLength / step) }, (_, i) => all.subarray(i * step, i * step + width))))
}

describe("adding a constant", () => {
  it.each(TORCH)("to %s: %d gives what torch gives", (dtype, constant, digest) => {
    expect(digestOf(dtype, applied(addKernel(constant, dtype, dtype)!, dtype, dtype, inputs(dtype)).out)).toBe(digest)
  })

  it("is computed in the dtype of the source, then cast", () => {
    const bf16 = inputs("BF16")
    const sum = applied(addKernel(-1, "BF16", "BF16")!, "BF16", "BF16", bf16).out
    expect(applied(addKernel(-1, "BF16", "F32")!, "BF16", "F32", bf16).out)
      .toEqual(applied(castKernel("BF16", "F32")!, "BF16", "F32", sum).out)
  })

  it("counts what subtracting does not give back", () => {
    const tiny = f32(1, 0.5, 1e-10, 3)
    expect(applied(addKernel(1, "F32", "F32")!, "F32", "F32", tiny).changed).toBe(1)
    expect(applied(addKernel(1, "F32", "BF16")!, "F32", "BF16", f32(2 ** -12, 1)).changed).toBe(1)
  })

  it("is refused for other dtypes", () => {
    expect(addKernel(1, "I32", "I32")).toBeUndefined()
    expect(addKernel(1, "BF16", "I32")).toBeUndefined()
  })
})

describe("restoring", () => {
  const add = { kind: "add", constant: -1 } as const
  const back = { kind: "add", constant: 1 } as const

  it("a cast takes the original where it still fits, and casts where the value was changed", () => {
    const original = f32(0.1, 0.2, 0.3)
    const stored = applied(castKernel("F32", "BF16")!, "F32", "BF16", original).out
    const tuned = stored.slice()
    new Uint16Array(tuned.buffer)[1] = 0x4000
    const { changed, out } = applied(restoreKernel({ kind: "restore" }, "BF16", "F32", "F32")!, "BF16", "F32", tuned, [original])
    expect(values(out)).toEqual([Math.fround(0.1), 2, Math.fround(0.3)])
    expect(changed).toBe(1)
  })

  it.each(floats.flatMap((from) => floats.map((to) => [from, to] as const)))(
    "what was %s and stored as %s comes back bit for bit",
    (original, stored) => {
      const bits = sample(original)
      const forward = applied(addKernel(-1, original, stored)!, original, stored, bits).out
      const kernel = restoreKernel({ kind: "restore", forward: add, backward: back }, stored, original, original)!
      const { changed, out } = applied(kernel, stored, original, forward, [bits])
      expect(changed).toBe(0)
      expect(Buffer.compare(out, bits)).toBe(0)
    }
  )

  it("undoes the step where the candidate is not the original", () => {
    const kernel = restoreKernel({ kind: "restore", forward: add, backward: back }, "F32", "F32", "F32")!
    const { changed, out } = applied(kernel, "F32", "F32", f32(0, 4, 7), [f32(1, 1, 1)])
    expect(values(out)).toEqual([1, 5, 8])
    expect(changed).toBe(2)
  })

  it("tells the tuned values of a large tensor from those that stayed", () => {
    const count = 10_001
    const original = new Uint8Array(Float32Array.from({ length: count }, (_, i) => Math.fround(Math.sin(i))).buffer)
    const stored = applied(castKernel("F32", "BF16")!, "F32", "BF16", original).out
    const tuned = stored.slice()
    const bits = new Uint16Array(tuned.buffer)
    const chosen = (i: number) => i > 5000 && i % 7 === 0
    for (let i = 0; i < count; i++) if (chosen(i)) bits[i]! ^= 1
    const { changed, out } = applied(restoreKernel({ kind: "restore" }, "BF16", "F32", "F32")!, "BF16", "F32", tuned, [original])
    const wide = values(applied(castKernel("BF16", "F32")!, "BF16", "F32", tuned).out)
    const exact = values(original)
    expect(values(out)).toEqual(exact.map((x, i) => chosen(i) ? wide[i] : x))
    expect(changed).toBe(exact.filter((_, i) => chosen(i)).length)
  })

  it("may go to another dtype than the original's", () => {
    const kernel = restoreKernel({ kind: "restore" }, "BF16", "F64", "F32")!
    const stored = applied(castKernel("F32", "BF16")!, "F32", "BF16", f32(0.1)).out
    const { out } = applied(kernel, "BF16", "F64", stored, [f32(0.1)])
    expect(new Float64Array(out.slice().buffer)[0]).toBe(Math.fround(0.1))
  })

  it("is refused for other dtypes", () => {
    expect(restoreKernel({ kind: "restore" }, "I32", "F32", "F32")).toBeUndefined()
  })
})
