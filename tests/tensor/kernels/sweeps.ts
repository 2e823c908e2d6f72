/** Inputs that reach every rounding case, and digests of outputs that ignore which NaN a NaN is. */
import { createHash } from "node:crypto"
import { bytesOf, type DType } from "../../../src/tensor/DType.ts"
import type { Kernel } from "../../../src/tensor/kernels/Kernel.ts"
import { type Memory, memoryWith } from "../../../src/tensor/kernels/Memory.ts"

export type Float = "BF16" | "F16" | "F32" | "F64"

export const floats: ReadonlyArray<Float> = ["BF16", "F16", "F32", "F64"]

const all16 = (): Uint16Array => Uint16Array.from({ length: 1 << 16 }, (_, i) => i)

/** Every sign, exponent and upper ten bits, with the lower thirteen at and around where rounding turns. */
const sweep32 = (): Uint32Array => {
  const lows = [0, 1, 0xfff, 0x1000, 0x1001, 0x1fff]
  const out = new Uint32Array((1 << 19) * lows.length)
  for (let high = 0, at = 0; high < 1 << 19; high++) for (const low of lows) out[at++] = ((high << 13) | low) >>> 0
  return out
}

/** Every seventh number of the former, and its neighbours in F64. */
const sweep64 = (): BigUint64Array => {
  const singles = sweep32()
  const values = new Float32Array(singles.buffer)
  const one = new Float64Array(1)
  const bits = new BigUint64Array(one.buffer)
  const out: Array<bigint> = []
  for (let i = 0; i < values.length; i += 7) {
    if (Number.isNaN(values[i])) continue
    one[0] = values[i]!
    // Before a zero comes the last pattern of all, a NaN, as an unsigned subtraction gives it.
    out.push(BigInt.asUintN(64, bits[0]! - 1n), bits[0]!, bits[0]! + 1n)
  }
  return BigUint64Array.from(out)
}

const cached = new Map<Float, Uint8Array>()

export const inputs = (dtype: Float): Uint8Array => {
  const make = { BF16: all16, F16: all16, F32: sweep32, F64: sweep64 }[dtype]
  const found = cached.get(dtype) ?? new Uint8Array(make().buffer)
  cached.set(dtype, found)
  return found
}

/** Run a kernel over one input (and operands of the same count) in a memory of its own. */
export const applied = (
  kernel: Kernel,
  from: DType,
  to: DType,
  input: Uint8Array,
  operands: ReadonlyArray<Uint8Array> = []
): { readonly out: Uint8Array; readonly changed: number } => {
  const count = input.byteLength / bytesOf(from)
  const align = (n: number) => Math.ceil(n / 8) * 8
  let at = 64
  const placed = [input, ...operands].map((bytes) => {
    const start = at
    at = align(at + bytes.byteLength)
    return start
  })
  const out = at
  const temporary = align(out + count * bytesOf(to))
  const m: Memory = memoryWith(align(temporary + count * kernel.temporary + 64))
  for (const [i, bytes] of [input, ...operands].entries()) m.u8.set(bytes, placed[i]!)
  const [source, ...rest] = placed
  const changed = kernel.apply(m, { source: source!, operands: rest, out, count, run: 1, temporary })
  return { out: m.u8.slice(out, out + count * bytesOf(to)), changed }
}

/** The first 16 hexadecimal digits of the SHA-256 of values, all NaN made one. */
export const digestOf = (dtype: Float, bytes: Uint8Array): string => {
  const copy = bytes.slice()
  switch (dtype) {
    case "BF16":
    case "F16": {
      const infinity = dtype === "BF16" ? 0x7f80 : 0x7c00
      const quiet = dtype === "BF16" ? 0x7fc0 : 0x7e00
      const view = new Uint16Array(copy.buffer)
      for (let i = 0; i < view.length; i++) if ((view[i]! & 0x7fff) > infinity) view[i] = quiet
      break
    }
    case "F32": {
      const view = new Uint32Array(copy.buffer)
      for (let i = 0; i < view.length; i++) if ((view[i]! & 0x7fffffff) > 0x7f800000) view[i] = 0x7fc00000
      break
    }
    case "F64": {
      const view = new Float64Array(copy.buffer)
      const words = new Uint32Array(copy.buffer)
      for (let i = 0; i < view.length; i++) {
        if (view[i] === view[i]) continue
        words[2 * i] = 0
        words[2 * i + 1] = 0x7ff80000
      }
    }
  }
  return createHash("sha256").update(copy).digest("hex").slice(0, 16)
}
