/** Arithmetic in plain loops: what every other driver is held against. */
import { type Arithmetic, productSizes } from "./Arithmetic.ts"
import { narrowed, widened } from "./convert.ts"

/** Every product is rounded to F32, then added to the sum so far, in the order of k, and rounded again. */
const product: Arithmetic["product"] = (call) => {
  const { k, m, n } = productSizes(call)
  const b = widened(call.b)
  const [alongN, alongK] = call.transposed ? [k, 1] : [1, n]
  const out = new Float32Array(m * n)
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = 0
      for (let i = 0; i < k; i++) sum = Math.fround(sum + Math.fround(call.a[row * k + i]! * b[column * alongN + i * alongK]!))
      out[row * n + column] = sum
    }
  }
  return out
}

/** Loops over vectors: they wait for memory more than for the processor, so that a driver of products may take them over. */
export const vectors: Pick<Arithmetic, "scale" | "add" | "rowNorms"> = {
  scale: (x, by) => {
    const factor = Math.fround(by)
    for (let i = 0; i < x.length; i++) x[i]! *= factor
  },
  add: (x, y) => {
    if (x.length !== y.length) throw new RangeError(`adding ${y.length} numbers to ${x.length}`)
    for (let i = 0; i < x.length; i++) x[i]! += y[i]!
  },
  rowNorms: (x, columns) => {
    const norms = new Float32Array(x.length / columns)
    let row = 0
    // Four rows at a time: a sum waits for itself, not for the others.
    for (; row + 4 <= norms.length; row += 4) {
      let a = 0, b = 0, c = 0, d = 0
      for (let i = row * columns, j = i + columns, k = j + columns, l = k + columns, end = j; i < end; i++, j++, k++, l++) {
        a += x[i]! * x[i]!
        b += x[j]! * x[j]!
        c += x[k]! * x[k]!
        d += x[l]! * x[l]!
      }
      norms[row] = Math.sqrt(a)
      norms[row + 1] = Math.sqrt(b)
      norms[row + 2] = Math.sqrt(c)
      norms[row + 3] = Math.sqrt(d)
    }
    for (; row < norms.length; row++) {
      let sum = 0
      for (let i = row * columns; i < (row + 1) * columns; i++) sum += x[i]! * x[i]!
      norms[row] = Math.sqrt(sum)
    }
    return norms
  }
}

/** A whole driver from its products: sums with a base are taken one operation after the other. */
export const withProduct = (name: string, product: Arithmetic["product"]): Arithmetic => ({
  name,
  product,
  ...vectors,
  addProduct: (base, call, by, rounding) => {
    const delta = product(call)
    vectors.scale(delta, by)
    const sum = widened(base)
    vectors.add(sum, rounding === "once" ? delta : widened({ dtype: base.dtype, bytes: narrowed(delta, base.dtype) }))
    return narrowed(sum, base.dtype)
  }
})

export const plain: Arithmetic = withProduct("plain", product)
