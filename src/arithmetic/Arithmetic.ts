/**
 * The arithmetic that merging adapters and running a decoder need, as a service: what computes it is a driver's business. Numbers
 * are F32 in row-major arrays; only the second factor of a product may come in another dtype, as weights do.
 */
import type { DType } from "../tensor/DType.ts"

/** The dtypes of weights that are computed with. */
export type WeightDType = Extract<DType, "F32" | "BF16" | "F16">


export const isWeightDType = (dtype: DType): dtype is WeightDType => dtype === "F32" || dtype === "BF16" || dtype === "F16"

/** [rows, columns], rows one behind the other, as in a checkpoint: little-endian, at any alignment. */
export interface Weights {
  readonly dtype: WeightDType
  readonly rows: number
  readonly columns: number
  readonly bytes: Uint8Array
}

/** One matrix product, accumulated in F32. */
export interface Product {
  /** [m, k] */
  readonly a: Float32Array
  readonly m: number
  /** [n, k] where `transposed`, as a linear layer holds its weight; else [k, n]. */
  readonly b: Weights
  readonly transposed: boolean
}

/**
 * How `W + scale · P` is rounded. `once`: product, scale and sum in F32, the result to the dtype of W. `delta-first`: `scale · P` is
 * rounded to the dtype of W, and so is its sum with W.
 */
export type SumRounding = "once" | "delta-first"

/** As {@link SumRounding}; `stepwise`: product, scaled product and sum are each rounded to the dtype of W. */
export type SumSteps = SumRounding | "stepwise"

/** What computes. All calls are synchronous; results are new arrays unless said. */
export interface Arithmetic {
  /** As it is said in output, e.g. `simd`. */
  readonly name: string
  /** [m, n] = a · b, or a · bᵀ. */
  readonly product: (product: Product) => Float32Array
  /** The bytes of `base + by · product`, in the dtype of the base, [m, n]. */
  readonly addProduct: (base: Weights, product: Product, by: number, rounding: SumRounding) => Uint8Array<ArrayBuffer>
  /** x := x · by, which is rounded to F32 first. */
  readonly scale: (x: Float32Array, by: number) => void
  /** x := x + y, element by element. */
  readonly add: (x: Float32Array, y: Float32Array) => void
  /** Euclidean norm of each row of x, [rows, columns]. */
  readonly rowNorms: (x: Float32Array, columns: number) => Float32Array
}

/** Sizes of a product, checked against its arrays. */
export const productSizes = ({ a, b, m, transposed }: Product): { readonly m: number; readonly n: number; readonly k: number } => {
  const [n, k] = transposed ? [b.rows, b.columns] : [b.columns, b.rows]
  if (a.length !== m * k) throw new RangeError(`a product of ${a.length} numbers in ${m} rows with [${b.rows}, ${b.columns}]`)
  return { m, n, k }
}
