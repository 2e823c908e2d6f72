/**
 * TensorFlow.js: its WebAssembly or, with TFJS=native, the native library (one of them, for a process has one backend). Products agree with
 * ours within what any order of F32 sums allows.
 */
import { describe, expect, it } from "vitest"
import type { Product } from "../../src/arithmetic/Arithmetic.ts"
import { productSizes } from "../../src/arithmetic/Arithmetic.ts"
import { widened } from "../../src/arithmetic/convert.ts"
import { openArithmetic } from "../../src/arithmetic/open.ts"
import { makeSimd } from "../../src/arithmetic/simd.ts"
import { TFJS, tfjsArithmetic } from "../../src/arithmetic/tfjs.ts"
import { DTYPES, productOf, ROUNDINGS, SIZES, sumOf } from "./drivers.ts"

const form = TFJS.find(({ name }) => name === (process.env["TFJS"] === "native" ? "tfjs-node" : "tfjs-wasm"))!

const simd = makeSimd()

/** Two sums of k products in any order differ by at most 2 γ of the sum of their magnitudes, γ = k u / (1 − k u), u = 2⁻²⁴. */
const beyond = (call: Product, ours: Float32Array, theirs: Float32Array): number => {
  const { k, n } = productSizes(call)
  const b = widened(call.b)
  const gamma = (k * 2 ** -24) / (1 - k * 2 ** -24)
  let wrong = 0
  for (const [at, value] of ours.entries()) {
    const [row, column] = [Math.floor(at / n), at % n]
    let magnitude = 0
    for (let i = 0; i < k; i++) magnitude += Math.abs(call.a[row * k + i]! * b[call.transposed ? column * k + i : i * n + column]!)
    if (!(Math.abs(value - theirs[at]!) <= 2 * gamma * magnitude)) wrong++
  }
  return wrong
}

describe("tfjs", async () => {
  const driver = tfjsArithmetic(form, await form.open())

  it.each(SIZES)(`${form.name}: [$m, $k] · [$k, $n] within the bound`, ({ k, m, n }) => {
    const wrong = DTYPES.flatMap((dtype) => [true, false].flatMap((transposed) => {
      const call = productOf({ k, m, n }, dtype, transposed)
      const found = beyond(call, simd.product(call), driver.product(call))
      return found === 0 ? [] : [`${dtype}${transposed ? ", transposed" : ""}: ${found}`]
    }))
    expect(wrong).toEqual([])
  })

  it("sums with a base have its dtype", () => {
    const sizes = { m: 3, n: 5, k: 2 }
    for (const dtype of DTYPES) for (const rounding of ROUNDINGS) expect(sumOf(driver, sizes, dtype, rounding).byteLength).toBe(sumOf(simd, sizes, dtype, rounding).byteLength)
  })

  it("--compute tfjs opens a form of it, simd and auto ours where no native one is", async () => {
    expect((await openArithmetic("tfjs")).name).toBe(form.name)
    expect((await openArithmetic("simd")).name).toBe("simd")
    expect((await openArithmetic("auto")).name).toMatch(process.env["TFJS"] === "native" ? /^tfjs-node/ : /^simd$/)
  })
})
