/** Changed values of quantised tensors as codes and scales again, held against the reader of published checkpoints and against {@link BlockQuantizer}. */
import { describe, expect, it } from "vitest"
import { BlockQuantizer } from "../../src/quantized/BlockQuantizer.ts"
import { forms, type Stored } from "../../src/quantized/forms.ts"
import { Requantizer, whyNotRequantizable } from "../../src/quantized/Requantizer.ts"
import { type Shape, volume } from "../../src/tensor/Copy.ts"
import type { DType } from "../../src/tensor/DType.ts"
import { valuesOf } from "../../src/tensor/kernels/codes.ts"
import { bf16OfF32Bits, bitsOfF32, f32BitsOfF16, f32OfBits } from "../../src/tensor/kernels/float.ts"
import { coordinatesOf } from "../tensor/randomCopies.ts"
import { random } from "../tensor/random.ts"

type Block = readonly [number, number]

interface Layout {
  readonly shape: Shape
  readonly scales: { readonly name: string; readonly dtype: DType; readonly shape: Shape }
  readonly blockSize?: Block
}

const layouts: ReadonlyArray<Layout> = [
  { shape: [10, 12], scales: { name: "x.weight_scale_inv", dtype: "F32", shape: [3, 3] }, blockSize: [4, 5] },
  { shape: [10, 12], scales: { name: "x.weight_scale_inv", dtype: "BF16", shape: [3, 3] }, blockSize: [4, 5] },
  { shape: [2, 6, 8], scales: { name: "x.weight_scale_inv", dtype: "F32", shape: [2, 2, 2] }, blockSize: [4, 4] },
  { shape: [6, 8], scales: { name: "x.weight_scale_inv", dtype: "BF16", shape: [] } },
  { shape: [6, 8], scales: { name: "x.weight_scale", dtype: "F16", shape: [6, 1] } },
  { shape: [6, 8], scales: { name: "x.scale", dtype: "F8_E8M0", shape: [6, 2] } }
]

const widths: Partial<Record<DType, number>> = { F32: 4, BF16: 2, F16: 2, F8_E8M0: 1 }

const scaleAt = (dtype: DType, bytes: Uint8Array, i: number): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  if (dtype === "F32") return view.getFloat32(4 * i, true)
  if (dtype === "BF16") return f32OfBits(view.getUint16(2 * i, true) << 16)
  if (dtype === "F16") return f32OfBits(f32BitsOfF16(view.getUint16(2 * i, true)))
  return 2 ** (view.getUint8(i) - 127)
}

/** Scales between 2⁻⁸ and 2⁻⁵. */
const randomScales = (dtype: DType, count: number, next: (n: number) => number): Uint8Array => {
  const bytes = new Uint8Array(count * widths[dtype]!)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < count; i++) {
    const [exponent, fraction] = [119 + next(3), next(128)]
    if (dtype === "F8_E8M0") view.setUint8(i, exponent)
    else if (dtype === "F16") view.setUint16(2 * i, ((exponent - 112) << 10) | (fraction << 3), true)
    else if (dtype === "BF16") view.setUint16(2 * i, (exponent << 7) | fraction, true)
    else view.setUint32(4 * i, (exponent << 23) | (fraction << 16) | next(1 << 16), true)
  }
  return bytes
}

const bf16 = (value: number): number => bf16OfF32Bits(bitsOfF32(value))
const numbersOf = (bytes: Uint8Array): ReadonlyArray<number> => Array.from(new Uint16Array(bytes.slice().buffer), (half) => f32OfBits(half << 16))

const opened = ({ blockSize = [128, 128], scales, shape }: Layout) => {
  const codes: Stored = { name: "x.weight", dtype: "F8_E4M3", shape }
  const stored = new Map<string, Stored>([codes, scales].map((t) => [t.name, t]))
  return forms.flatMap((form) => form(codes, { get: (name) => stored.get(name), blockSize }) ?? [])[0]!
}

/** The block of every element. */
const blocksOf = ({ layout: { scales: { blocks, strides }, shape } }: ReturnType<typeof opened>): ReadonlyArray<number> =>
  Array.from({ length: volume(shape) }, (_, i) => coordinatesOf(shape, i).reduce((sum, c, axis) => sum + Math.floor(c / blocks[axis]!) * strides[axis]!, 0))

/** Values of every second block changed; codes and scales of the result, in pieces. */
const requantized = (layout: Layout, seed: number) => {
  const next = random(seed)
  const quantized = opened(layout)
  const count = volume(layout.shape)
  const block = blocksOf(quantized)
  const codes = Uint8Array.from({ length: count }, () => next(2) << 7 | next(0x7f))
  const bytes = randomScales(layout.scales.dtype, Math.max(1, volume(layout.scales.shape)), next)
  const requantizer = new Requantizer({ quantized, scales: { dtype: layout.scales.dtype, bytes } })
  const before = requantizer.values(codes, 0)
  const after = new Uint8Array(Uint16Array.from(numbersOf(before), (value, i) => bf16(block[i]! % 2 === 0 ? value : value + (next(200) - 100) / 64)).buffer)
  const pieces = (visit: (from: number, to: number) => void): void => {
    for (let from = 0; from < count;) {
      const to = Math.min(count, from + 1 + next(2 * layout.shape.at(-1)!))
      visit(from, to)
      from = to
    }
  }
  pieces((from, to) => requantizer.observe(before.subarray(2 * from, 2 * to), after.subarray(2 * from, 2 * to), from))
  requantizer.decide()
  const out = codes.slice()
  pieces((from, to) => requantizer.encode(after.subarray(2 * from, 2 * to), out.subarray(from, to), from))
  return { quantized, block, codes, bytes, before, after, out, scales: requantizer.scales }
}

describe.each(layouts.map((layout) => [`${layout.scales.name} ${layout.scales.dtype} [${layout.scales.shape}] of [${layout.shape}]`, layout] as const))("%s", (_, layout) => {
  it("is read as the changed values, but for half a step; blocks that do not change keep their bytes", () => {
    for (let seed = 1; seed < 20; seed++) {
      const { after, block, bytes, codes, out, quantized, scales } = requantized(layout, seed)
      const { dtype } = layout.scales
      const rounded = quantized.layout.transform.scale === "BF16"
      for (const [i, value] of numbersOf(after).entries()) {
        const at = block[i]!
        if (at % 2 === 0) {
          expect(out[i]).toBe(codes[i])
          expect(scaleAt(dtype, scales, at)).toBe(scaleAt(dtype, bytes, at))
          continue
        }
        const stored = scaleAt(dtype, scales, at)
        const scale = rounded ? f32OfBits(bf16(stored) << 16) : stored
        // Steps are 1/8 of the power of two below a value, 2⁻⁹ at least; where a rounded scale cuts the largest off, it is by less.
        const half = scale * Math.max(2 ** -10, 2 ** (Math.floor(Math.log2(Math.abs(value / scale))) - 4)) * (1 + 2 ** -6)
        expect(Math.abs(valuesOf("e4m3")[out[i]!]! * scale - value)).toBeLessThanOrEqual(half)
      }
    }
  })
})

it("blocks that change are what the quantiser of whole tensors makes of them", () => {
  const layout = layouts[0]!
  const { after, block, out, scales } = requantized(layout, 5)
  const whole = new BlockQuantizer({ name: "x.weight", dtype: "BF16", shape: layout.shape, blockSize: layout.blockSize! })
  const codes = whole.push(after)
  const wanted = whole.scales()
  for (const [i, at] of block.entries()) {
    if (at % 2 === 0) continue
    expect(out[i]).toBe(codes[i])
    expect(scaleAt("F32", scales, at)).toBe(scaleAt("F32", wanted, at))
  }
})

it("what is quantised again without a change has the same codes", () => {
  const layout = layouts[0]!
  const first = requantized(layout, 3)
  const again = new Requantizer({ quantized: first.quantized, scales: { dtype: "F32", bytes: first.scales } })
  const values = again.values(first.out, 0)
  again.observe(values, values, 0)
  again.decide()
  const codes = first.out.slice()
  again.encode(values, codes, 0)
  expect(codes).toEqual(first.out)
  expect(again.scales).toEqual(first.scales)
})

it("a value that is not finite is named", () => {
  const { before, bytes, quantized } = requantized(layouts[0]!, 1)
  const requantizer = new Requantizer({ quantized, scales: { dtype: "F32", bytes } })
  const after = Uint8Array.from(before)
  after.set([0x80, 0x7f], 6)
  requantizer.observe(before, after, 0)
  expect(() => requantizer.decide()).toThrow(expect.objectContaining({ code: "quantized/not-finite", place: { tensor: "x.weight" } }))
})

it("forms whose codes are not chosen by a rule are told apart", () => {
  const int4: ReadonlyArray<Stored> = [{ name: "y.weight_packed", dtype: "I32", shape: [4, 4] }, { name: "y.weight_scale", dtype: "BF16", shape: [4, 1] }, { name: "y.weight_shape", dtype: "I64", shape: [2] }]
  const form = forms.flatMap((of) => of(int4[0]!, { get: (name) => int4.find((t) => t.name === name), blockSize: [128, 128] }) ?? [])[0]!
  expect(whyNotRequantizable(form, "BF16")).toContain("4 bits")
  expect(whyNotRequantizable(opened(layouts[0]!), "F32")).toBeUndefined()
})
