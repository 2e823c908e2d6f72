/** The HF tensors of an export. */
import type { StoredChunks } from "../checkpoint/StoredChunks.ts"
import type { Copy, Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { inverse } from "../tensor/Transform.ts"
import type { Origin } from "./located.ts"

/** An HF tensor to be written. */
export interface ExportTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
  /** Of a tensor of the model: the dtype that holds what it is made of. */
  readonly stored?: DType
  readonly copies: ReadonlyArray<Copy>
}

/** A tensor of the model. Its copies are cut when asked for, and not kept: a plan of 100 000 tensors stays small. */
export class ModelTensor implements ExportTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
  readonly #origin: Origin
  readonly #chunks: StoredChunks
  readonly #original: string | undefined

  /** `original`: the source of the values before they were rounded on their way here, if there is one. */
  constructor({ dtype, name, shape }: Omit<ExportTensor, "copies">, origin: Origin, chunks: StoredChunks, original: string | undefined) {
    this.name = name
    this.dtype = dtype
    this.shape = shape
    this.#origin = origin
    this.#chunks = chunks
    this.#original = original
  }

  get stored(): DType {
    return this.#origin.stored
  }

  get copies(): ReadonlyArray<Copy> {
    return this.#origin.parameters
      .flatMap((parameter) => this.#chunks.toHf(parameter, this.name))
      .map((copy) => undone(copy, this.#original))
  }
}

/** A copy whose transform runs backwards. */
const undone = (copy: Copy, original: string | undefined): Copy => {
  const { transform } = copy
  if (!transform) return copy
  if (transform.kind !== "add") throw new RangeError(`${copy.target.tensor}: ${transform.kind} has no inverse`)
  const backward = inverse(transform)
  if (original === undefined) return { ...copy, transform: backward }
  return { ...copy, transform: { kind: "restore", forward: transform, backward }, operands: [{ ...copy.target, tensor: original }] }
}
