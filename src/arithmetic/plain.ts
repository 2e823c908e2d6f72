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
      let [a, b, c, d] = [0, 0, 0, 0]
      for (let i = row * columns; i < (row + 1) * columns; i++) {
        const [p, q, r, s] = [x[i]!, x[i + columns]!, x[i + 2 * columns]!, x[i + 3 * columns]!]
        a += p * p
        b += q * q
        c += r * r
        d += s * s
      }
      norms.set([Math.sqrt(a), Math.sqrt(b), Math.sqrt(c), Math.sqrt(d)], row)
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
