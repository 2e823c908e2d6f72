/** What adapters change of a model, HF tensor by HF tensor: the terms of each of its matrices, and how they are rounded. */
import { Effect, Stream } from "effect"
import { type Arithmetic, isWeightDType } from "../../arithmetic/Arithmetic.ts"
import { isSummedDType, LARGEST_RANK, type MatrixSums } from "../../arithmetic/matrixSums.ts"
import { makeSimd } from "../../arithmetic/simd.ts"
import type { BoundParameter } from "../../bridge/Conversion.ts"
import { stream, type TargetArray } from "../../engine/index.ts"
import { PlanRefused } from "../../errors.ts"
import { partName } from "../../model/adapterKey.ts"
import { bytesOf, type DType } from "../../tensor/DType.ts"
import { factorsOf, type HfMatrix, isLinearWeight } from "../factors.ts"
import { adjustment, type ChangedMatrix } from "./adjustment.ts"
import { changed, type MergeOrder, type Rounding, type RowLengths } from "./addTerms.ts"
import type { LoadedAdapter } from "./loadAdapter.ts"
import type { MergeTerm } from "./Term.ts"

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

/** Lengths of the rows of a matrix with the change of DoRA added, which takes all of each row: the base's tensors are read for it. */
const rowLengths = Effect.fnUntraced(function*(arithmetic: Arithmetic, changes: ReadonlyArray<ChangedTensor>, arrayOf: (tensor: string) => TargetArray) {
  const lengths = new Map<MergeTerm, RowLengths>()
  const wanted = changes.filter(({ matrices }) => matrices.some(({ terms }) => terms.some(({ magnitude }) => magnitude)))
  for (const { matrices: [matrix, ...others], tensor } of wanted) {
    const { columns, rows, terms } = matrix!
    if (others.length > 0 || terms.length > 1) {
      return yield* new PlanRefused({ code: "adapter/dora", problem: "DoRA sets the lengths of rows, so it cannot be merged together with another adapter of the same weight", names: [tensor] })
    }
    const [term] = terms as [MergeTerm]
    const array = arrayOf(tensor)
    if (!isWeightDType(array.dtype)) throw unsuitable(tensor, array.dtype)
    const norms = new Float32Array(rows)
    const rowBytes = columns * bytesOf(array.dtype)
    let rest = new Uint8Array(0)
    let first = 0
    const dtype = array.dtype
    const add = (bytes: Uint8Array): void => {
      const joined = new Uint8Array(rest.byteLength + bytes.byteLength)
      joined.set(rest)
      joined.set(bytes, rest.byteLength)
      const m = Math.floor(joined.byteLength / rowBytes)
      const sums = changed(arithmetic, { dtype, columns, first, bytes: joined.subarray(0, m * rowBytes) }, m, term)
      for (let i = 0; i < m; i++) {
        let sum = 0
        for (let j = i * columns; j < (i + 1) * columns; j++) sum += sums[j]! * sums[j]!
        norms[first + i] = Math.sqrt(sum)
      }
      first += m
      rest = joined.slice(m * rowBytes)
    }
    yield* stream([array], { lend: true }).pipe(Stream.runForEach(({ bytes }) => Effect.sync(() => add(bytes))))
    lengths.set(term, { norms, magnitude: term.magnitude! })
  }
  return lengths
})

const unsuitable = (tensor: string, dtype: DType): PlanRefused =>
  new PlanRefused({ code: "adapter/dtype", problem: `the base model's weight is ${dtype}: no adapter is added to that`, names: [tensor] })

/** A change as plain data, which any thread can compute; undefined where it takes more than sums of products. */
const sumsOf = ({ matrices, rounding }: ChangedTensor, dtype: DType): MatrixSums | undefined => {
  const isSum = ({ terms }: ChangedMatrix): boolean =>
    terms.every(({ a, magnitude }) => magnitude === undefined && a.rows <= LARGEST_RANK) && (rounding !== "precise" || terms.length < 2)
  if (!isSummedDType(dtype) || !matrices.every(isSum)) return undefined
  return {
    dtype,
    steps: rounding === "stepwise" ? rounding : rounding === "peft" ? "delta-first" : "once",
    matrices: matrices.map(({ columns, rows, terms }) => ({ rows, columns, addends: terms.map(({ a, b, scale }) => ({ scale, left: b, right: a })) }))
  }
}

/** Makes arrays of the tensors that change what they become. */
export interface Changing {
  readonly changed: (array: TargetArray, tensor?: string) => TargetArray
  readonly driver: string
  readonly arithmetic: Arithmetic
  /** Of terms of DoRA, whose rows are those of HF tensors. */
  readonly lengths: (term: MergeTerm) => RowLengths | undefined
}

/** `arrayOf`: a tensor of the base by its HF name. PlanRefused `adapter/dora`, `adapter/dtype`. */
export const changing = Effect.fnUntraced(function*(changes: ReadonlyMap<string, ChangedTensor>, arrayOf: (tensor: string) => TargetArray) {
  // Products are sums in the order of ranks in every driver that is asked for bits.
  const arithmetic = makeSimd()
  const lengths = yield* rowLengths(arithmetic, [...changes.values()], arrayOf)
  return {
    driver: arithmetic.name,
    arithmetic,
    lengths: (term) => lengths.get(term),
    changed: (array, tensor = array.id) => {
      const change = changes.get(tensor)
      if (!change) return array
      if (!isWeightDType(array.dtype)) throw unsuitable(tensor, array.dtype)
      const { dtype, id, shape } = array
      const adjust = sumsOf(change, dtype) ?? adjustment({ arithmetic, dtype, rounding: change.rounding, lengths: (term) => lengths.get(term) }, change.matrices)
      return { id, dtype, shape, copies: () => array.copies(), adjust }
    }
  } satisfies Changing
})
