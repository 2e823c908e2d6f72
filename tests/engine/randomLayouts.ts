/** Random arrays with random copies that fill them, and what they must contain, element by element. */
import type { SourceArray, TargetArray } from "../../src/engine/internal/Target.ts"
import { stridesOf, type View, volume } from "../../src/tensor/Copy.ts"
import { bytesOf, type DType } from "../../src/tensor/DType.ts"
import { kernelFor } from "../../src/tensor/kernels/kernelFor.ts"
import type { Transform } from "../../src/tensor/Transform.ts"
import { applied, floats } from "../tensor/kernels/sweeps.ts"
import type { Random } from "../tensor/random.ts"
import { addresses, boxes, shuffled, subdivided } from "../tensor/randomCopies.ts"

export const randomBytes = (next: Random, length: number): Uint8Array => Uint8Array.from({ length }, () => next(256))

export interface World {
  readonly files: Map<string, Uint8Array>
  readonly arrays: Array<TargetArray>
}

/** Arrays of `dtypes` filled from arrays at odd offsets of a few files: of the same dtype, or of others by way of transforms. */
export const randomWorld = (
  next: Random,
  arrays: number,
  dtypes: ReadonlyArray<DType>,
  largest = 9,
  values: "same" | "changed" = "same"
): World => {
  const world: World = { files: new Map(), arrays: [] }
  const contents = new Map<string, Array<Uint8Array>>()
  const view = (axes: ReadonlyArray<number>, dtype: DType) => sourceView(next, contents, dtype, axes)
  for (let i = 0; i < arrays; i++) {
    const dtype = dtypes[next(dtypes.length)]!
    const shape = Array.from({ length: next(4) }, () => next(20) === 0 ? 0 : 1 + next(largest))
    const copies = volume(shape) === 0 ? [] : boxes(next, shape.map(() => 0), shape, 4).map(({ offsets, sizes }) => {
      const strides = stridesOf(shape)
      const axes = shuffled(next, sizes.flatMap((count, k) => subdivided(next, { count, stride: strides[k]! })))
      const extents = axes.map((axis) => axis.count)
      const target = { tensor: "array", offset: offsets.reduce((sum, o, k) => sum + o * strides[k]!, 0), strides: axes.map((a) => a.stride) }
      if (values === "same") return { shape: extents, source: view(extents, dtype), target }
      const transform = TRANSFORMS[next(TRANSFORMS.length)]
      return {
        shape: extents,
        source: view(extents, oneOf(next, floats)),
        target,
        ...(transform ? { transform } : {}),
        ...(transform?.kind === "restore" ? { operands: [view(extents, oneOf(next, floats))] } : {})
      }
    })
    world.arrays.push({ id: `array ${i}`, dtype, shape, copies: () => copies })
  }
  for (const [path, parts] of contents) world.files.set(path, new Uint8Array(Buffer.concat(parts)))
  return world
}

const TRANSFORMS: ReadonlyArray<Transform | undefined> = [
  undefined,
  { kind: "add", constant: -1 },
  { kind: "restore" },
  { kind: "restore", forward: { kind: "add", constant: 1 }, backward: { kind: "add", constant: -1 } }
]

const oneOf = <A>(next: Random, list: ReadonlyArray<A>): A => list[next(list.length)]!

/** A view of the given extents into a new source tensor, whose axes lie in another order and are longer than needed. */
const sourceView = (
  next: Random,
  contents: Map<string, Array<Uint8Array>>,
  dtype: DType,
  counts: ReadonlyArray<number>
): View<SourceArray> => {
  const order = shuffled(next, counts.map((_, i) => i))
  const padded = next(3) === 0
  const extents = order.map((i) => counts[i]! + (padded ? next(3) : 0))
  const sourceStrides = stridesOf(extents)
  const strides = counts.map((_, i) => sourceStrides[order.indexOf(i)]!)
  // Now and then one value serves a whole axis.
  if (strides.length > 0 && next(8) === 0) strides[next(strides.length)] = 0
  const slack = padded ? next(5) : 0
  const path = `/in/${next(3)}`
  const parts = contents.get(path) ?? []
  contents.set(path, parts)
  parts.push(randomBytes(next, next(3) === 0 ? next(40) : 8 * next(3)))
  const length = volume(extents) + slack
  const tensor = { path, offset: parts.reduce((sum, p) => sum + p.byteLength, 0), dtype, shape: [length] }
  parts.push(randomBytes(next, length * bytesOf(dtype)))
  return { tensor, offset: slack === 0 ? 0 : next(slack), strides }
}

export const expectedBytes = (world: World, array: TargetArray): Uint8Array => expected(world, array).bytes

/** The bytes of an array and how many values change, by looking at each element. */
export const expected = (world: World, array: TargetArray): { readonly bytes: Uint8Array; readonly changed: number } => {
  let changed = 0
  const width = bytesOf(array.dtype)
  const out = new Uint8Array(volume(array.shape) * width)
  for (const { operands = [], shape, source, target, transform } of array.copies()) {
    const [values, ...others] = [source, ...operands].map((view) => {
      const from = view.tensor
      const bytes = world.files.get(from.path)!
      const each = addresses(shape, view).map((at) => from.offset + at * bytesOf(from.dtype))
      return { dtype: from.dtype, bytes: new Uint8Array(Buffer.concat(each.map((at) => bytes.subarray(at, at + bytesOf(from.dtype))))) }
    })
    const kernel = kernelFor(values!.dtype, array.dtype, transform, others.map((o) => o.dtype))!
    const result = kernel === "move"
      ? { out: values!.bytes, changed: 0 }
      : applied(kernel, values!.dtype, array.dtype, values!.bytes, others.map((o) => o.bytes))
    changed += result.changed
    for (const [n, t] of addresses(shape, target).entries()) out.set(result.out.subarray(n * width, (n + 1) * width), t * width)
  }
  return { bytes: out, changed }
}
