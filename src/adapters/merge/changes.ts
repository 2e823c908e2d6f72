/** What adapters change of a model, HF tensor by HF tensor: the terms of each of its matrices, and how they are rounded. */
import { Effect, Stream } from "effect"
import { type Arithmetic, isWeightDType, type WeightDType } from "../../arithmetic/Arithmetic.ts"
import { widened } from "../../arithmetic/convert.ts"
import { type AddendSteps, isSummed, type MatrixSum, sumsWithin } from "../../arithmetic/matrixSums.ts"
import { makeSimd } from "../../arithmetic/simd.ts"
import type { BoundParameter } from "../../bridge/Conversion.ts"
import { adjusted, stream, type TargetArray, threadsToCompute } from "../../engine/index.ts"
import { PlanRefused } from "../../errors.ts"
import { partName } from "../../model/adapterKey.ts"
import type { DType } from "../../tensor/DType.ts"
import { factorsOf, type HfMatrix, isLinearWeight } from "../factors.ts"
import { adjustment, type ChangedMatrix } from "./adjustment.ts"
import type { MergeOrder, Rounding, RowFactors } from "./addTerms.ts"
import type { LoadedAdapter } from "./loadAdapter.ts"
import { RowNorms } from "./RowNorms.ts"
import { type MergeTerm, sharedBytes } from "./Term.ts"

/** A tensor that adapters change. */
export interface ChangedTensor {
  readonly tensor: string
  readonly matrices: ReadonlyArray<ChangedMatrix>
  readonly rounding: Rounding
}

/** HF tensors whose change the reference computes in their own dtype, step by step: parts of a fused projection in four tensors. */
const steppedTensors = (parameters: ReadonlyArray<BoundParameter>): ReadonlySet<string> =>
  new Set(parameters.filter(({ parameter, tensors }) => parameter.shape.length === 2 && tensors.length === 4 && partName(parameter.parts[0]!.key) !== undefined).flatMap(({ tensors }) => tensors.map(({ name }) => name)))

/** Every matrix of the HF tensors of linear weights; experts of one tensor in their order. */
const matricesByTensor = (parameters: ReadonlyArray<BoundParameter>): ReadonlyMap<string, ReadonlyArray<HfMatrix>> => {
  const found = new Map<string, Map<number, HfMatrix>>()
  for (const { matrix } of parameters.filter(isLinearWeight).flatMap(factorsOf)) {
    const own = found.get(matrix.tensor) ?? new Map<number, HfMatrix>()
    found.set(matrix.tensor, own.set(matrix.expert?.index ?? 0, matrix))
  }
  return new Map([...found].map(([tensor, own]) => [tensor, [...own].sort(([a], [b]) => a - b).map(([, matrix]) => matrix)]))
}

/** What these adapters change, in the order in which they are given. */
export const changesOf = (parameters: ReadonlyArray<BoundParameter>, adapters: ReadonlyArray<LoadedAdapter>, order: MergeOrder): ReadonlyMap<string, ChangedTensor> => {
  const stepped = steppedTensors(parameters)
  const changes = new Map<string, ChangedTensor>()
  for (const [tensor, matrices] of matricesByTensor(parameters)) {
    const own = adapters.filter(({ tensors }) => tensors.has(tensor))
    if (own.length === 0) continue
    changes.set(tensor, {
      tensor,
      rounding: order === "bridge" && stepped.has(tensor) ? "stepwise" : order,
      matrices: matrices.map((matrix): ChangedMatrix => ({
        rows: matrix.transposed ? matrix.columns : matrix.rows,
        columns: matrix.transposed ? matrix.rows : matrix.columns,
        terms: own.flatMap((adapter) => adapter.termOf(matrix) ?? [])
      }))
    })
  }
  return changes
}

/**
 * What each row is multiplied by once the change of DoRA is added, so that it has the length that it should: all of each row is needed, so
 * the base's tensors are read for it.
 */
const doraFactors = Effect.fnUntraced(function*(arithmetic: Arithmetic, changes: ReadonlyArray<ChangedTensor>, arrayOf: (tensor: string) => TargetArray) {
  const wanted = changes.filter(({ matrices }) => matrices.some(({ terms }) => terms.some(({ magnitude }) => magnitude)))
  const measured = new Map<TargetArray, { readonly term: MergeTerm; readonly norms: RowNorms }>()
  for (const { matrices: [matrix, ...others], tensor } of wanted) {
    const { columns, rows, terms } = matrix!
    if (others.length > 0 || terms.length > 1) {
      return yield* new PlanRefused({ code: "adapter/dora", problem: "DoRA sets the lengths of rows, so it cannot be merged together with another adapter of the same weight", names: [tensor] })
    }
    const [term] = terms as [MergeTerm]
    const array = arrayOf(tensor)
    if (!isWeightDType(array.dtype)) throw unsuitable(tensor, array.dtype)
    const change: ChangedTensor = { tensor, rounding: "bridge", matrices: [{ rows, columns, terms: [{ a: term.a, b: term.b, scale: term.scale }] }] }
    const changed = adjustedArray({ arithmetic, rowFactorsOf: () => undefined }, { ...array, dtype: "F32" }, change)
    measured.set(changed, { term, norms: new RowNorms(arithmetic, rows, columns) })
  }
  yield* stream(measured.keys(), { lend: true, threads: threadsToCompute() }).pipe(Stream.runForEach(({ array, bytes }) => Effect.sync(() => measured.get(array)!.norms.add(numbersIn(bytes)))))
  return new Map(Iterator.from(measured.values()).map(({ norms: { norms }, term }) => [term, divided(widened(term.magnitude!), norms)]))
})

/** F32 numbers where they lie. */
const numbersIn = (bytes: Uint8Array): Float32Array =>
  bytes.byteOffset % 4 === 0 ? new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4) : widened({ bytes, dtype: "F32" })

const divided = (lengths: Float32Array, norms: Float32Array): Float32Array => {
  const factors = new Float32Array(sharedBytes(4 * norms.length).buffer)
  for (const [row, norm] of norms.entries()) factors[row] = lengths[row]! / norm
  return factors
}

/** PlanRefused `adapter/dtype`. */
export const unsuitable = (tensor: string, dtype: DType): PlanRefused =>
  new PlanRefused({ code: "adapter/dtype", problem: `the base model's weight is ${dtype}: no adapter is added to that`, names: [tensor] })

/** How the addends of a matrix are summed. */
const stepsOf = (terms: ReadonlyArray<MergeTerm>, rounding: Rounding): AddendSteps => {
  if (terms.some(({ magnitude }) => magnitude)) return "together"
  if (rounding === "precise") return terms.length > 1 ? "together" : "once"
  return rounding === "stepwise" ? rounding : rounding === "peft" ? "delta-first" : "once"
}

/** The change of a matrix as plain data, which any thread can compute; undefined where no kernel does it. */
export const matrixSum = ({ columns, terms }: Pick<ChangedMatrix, "columns" | "terms">, dtype: WeightDType, rounding: Rounding, rowFactorsOf: RowFactors): MatrixSum | undefined => {
  const [rowFactors] = terms.flatMap((term) => rowFactorsOf(term) ?? [])
  const sum: MatrixSum = {
    columns,
    dtype,
    steps: stepsOf(terms, rounding),
    addends: terms.map(({ a, b, scale }) => ({ scale, left: b, right: a })),
    ...(rowFactors ? { rowFactors } : {})
  }
  return isSummed(sum) ? sum : undefined
}

/** How changes are computed. */
export interface Computing {
  readonly arithmetic: Arithmetic
  /** Of terms of DoRA, whose rows are those of HF tensors. */
  readonly rowFactorsOf: RowFactors
}

const adjustedArray = ({ arithmetic, rowFactorsOf }: Computing, array: TargetArray, { matrices, rounding, tensor }: ChangedTensor): TargetArray => {
  const { dtype } = array
  if (!isWeightDType(dtype)) throw unsuitable(tensor, dtype)
  const sums = matrices.map((matrix) => ({ elements: matrix.rows * matrix.columns, sum: matrixSum(matrix, dtype, rounding, rowFactorsOf) }))
  return adjusted(array, sums.every(({ sum }) => sum)
    ? { sums: (at, first, count) => sumsWithin(sums, at, first, count) }
    : { bytes: adjustment({ arithmetic, dtype, rounding, rowFactorsOf }, matrices) })
}

/** Makes arrays of the tensors that change what they become. */
export interface Changing extends Computing {
  readonly changed: (array: TargetArray, tensor?: string) => TargetArray
  readonly driver: string
}

/** `arrayOf`: a tensor of the base by its HF name. PlanRefused `adapter/dora`, `adapter/dtype`. */
export const changing = Effect.fnUntraced(function*(changes: ReadonlyMap<string, ChangedTensor>, arrayOf: (tensor: string) => TargetArray) {
  // Products are sums in the order of ranks in every driver that is asked for bits.
  const arithmetic = makeSimd()
  const factors = yield* doraFactors(arithmetic, [...changes.values()], arrayOf)
  const rowFactorsOf = (term: MergeTerm) => factors.get(term)
  return {
    driver: arithmetic.name,
    arithmetic,
    rowFactorsOf,
    changed: (array, tensor = array.id) => {
      const change = changes.get(tensor)
      return change ? adjustedArray({ arithmetic, rowFactorsOf }, array, change) : array
    }
  } satisfies Changing
})
