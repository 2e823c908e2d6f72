/** Kinds that take a tensor as it is, but for its orientation or for the part of it that they need. */
import { type Shape, stridesOf, viewOf } from "../../tensor/Copy.ts"
import { from, type MappingKind, type RowSource } from "../Mapping.ts"

/** `y = xᵀ`. */
export const transposed: MappingKind = {
  name: "transposed",
  arity: 1,
  relate: (p, [name]) => {
    const shape = [...p.shape].reverse()
    return {
      tensors: [{ name: name!, shape }],
      copies: [{
        shape: p.shape,
        source: { tensor: name!, offset: 0, strides: stridesOf(shape).reverse() },
        target: viewOf(p.name, p.shape)
      }]
    }
  }
}

/** `y = x[index]`, x with a leading axis of `count`; the other rows belong to other parameters. */
export const slice = (index: number, count: number): MappingKind => ({
  name: "slice",
  arity: 1,
  relate: (p, [name]) => {
    const shape = [count, ...p.shape]
    const [step = 1, ...strides] = stridesOf(shape)
    return {
      tensors: [{ name: name!, shape }],
      copies: [{ shape: p.shape, source: { tensor: name!, offset: index * step, strides }, target: viewOf(p.name, p.shape) }]
    }
  }
})

/** `y = x`, of which the file has other axes of one element: `shape`. */
export const reshaped = (shape: Shape): MappingKind => ({
  name: "reshaped",
  arity: 1,
  relate: (p, [name]) => {
    const own = p.shape.filter((extent) => extent > 1)
    if (shape.filter((extent) => extent > 1).join() !== own.join()) throw new RangeError(`${p.name} [${p.shape}] does not have the axes of [${shape}]`)
    const strides = stridesOf(own)
    return { tensors: [{ name: name!, shape }], copies: [{ shape: own, source: { tensor: name!, offset: 0, strides }, target: { tensor: p.name, offset: 0, strides } }] }
  }
})

export const reshapedOf = (shape: Shape, pattern: string): RowSource => from(reshaped(shape))(pattern)
export const transposedOf = from(transposed)
export const sliceOf = (index: number, count: number, pattern: string): RowSource => from(slice(index, count))(pattern)

/** `y = x[first …]`, some of the `total` rows of x; the others belong to other parameters. */
export const rowsFrom = (first: number, total: number): MappingKind => ({
  name: "rows",
  arity: 1,
  relate: (p, [name]) => {
    const shape = [total, ...p.shape.slice(1)]
    return {
      tensors: [{ name: name!, shape }],
      copies: [{ shape: p.shape, source: viewOf(name!, shape, first), target: viewOf(p.name, p.shape) }]
    }
  }
})

export const rowsFromOf = (first: number, total: number, pattern: string): RowSource => from(rowsFrom(first, total))(pattern)

/**
 * `y = cat₀(P q, P k, v)`: the rows of each head of q and k as the pairs (0, d/2), (1, d/2 + 1) … that rotary embeddings turn
 * together, where q and k have the first halves in front. Also biases.
 */
export const pairedQkv = (heads: number): MappingKind => ({
  name: "paired-qkv",
  arity: 3,
  relate: (p, names) => {
    const [rows, ...inner] = [p.shape[0]! / 3, ...p.shape.slice(1)]
    const half = rows / heads / 2
    if (!Number.isInteger(half)) throw new RangeError(`${p.name}: ${rows} rows are not ${heads} heads of two halves`)
    const shape = [rows, ...inner]
    const [row = 1, ...rest] = stridesOf(shape)
    return {
      tensors: names.map((name) => ({ name, shape })),
      copies: names.map((name, i) => {
        const offset = i * rows * row
        if (i === 2) return { shape, source: viewOf(name, shape), target: viewOf(p.name, p.shape, 2 * rows) }
        return {
          shape: [heads, half, 2, ...inner],
          source: { tensor: name, offset: 0, strides: [2 * half * row, row, half * row, ...rest] },
          target: { tensor: p.name, offset, strides: [2 * half * row, 2 * row, row, ...rest] }
        }
      })
    }
  }
})

export const pairedQkvOf = (heads: number, pattern: string): RowSource => from(pairedQkv(heads))(pattern)
