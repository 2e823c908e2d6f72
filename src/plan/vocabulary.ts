/**
 * The rows of a vocabulary. A trainer cuts them evenly over the tensor-parallel ranks; where they do not divide, it pads them to
 * a multiple of `make_vocab_size_divisible_by × tp` (if `should_pad_vocab` says so), and so does an import. An export drops the
 * padding. Pure.
 */
import type { BoundParameter, Conversion, ConversionModule } from "../bridge/Conversion.ts"
import type { Provider, PythonValue } from "../runconfig/Provider.ts"
import { PlanRefused, UsageError } from "../errors.ts"
import type { Parameter } from "../model/Parameter.ts"
import { type Copy, type Shape, viewOf } from "../tensor/Copy.ts"
import type { Located } from "./located.ts"

/** How a vocabulary was padded, and by which rule. */
export interface VocabularyPadding {
  readonly from: number
  readonly to: number
  /** `make_vocab_size_divisible_by`. */
  readonly divisibleBy: number
  readonly tp: number
}

/** What the trainer pads to multiples of (times tp) where a model says nothing else. */
const DIVISIBLE_BY = 128

/** The trainer's rule: `size` rounded up to a multiple of `divisibleBy × tp`. */
export const paddedVocabulary = (size: number, divisibleBy: number, tp: number): number =>
  Math.ceil(size / (divisibleBy * tp)) * divisibleBy * tp

/** Rows below the model's own, zero as the reference leaves them. They repeat nothing, so a source is named for its dtype only. */
const zeroRows = (parameter: Parameter, rows: number, like: Copy): ReadonlyArray<Copy> => {
  const [size, ...width] = parameter.shape as readonly [number, ...Shape]
  const copies: Array<Copy> = []
  for (let row = size; row < rows; row += size) {
    const shape = [Math.min(size, rows - row), ...width]
    const source = viewOf(like.source.tensor, shape)
    copies.push({ shape, source, target: viewOf(parameter.name, shape, row), transform: { kind: "fill", value: 0 }, echo: true })
  }
  return copies
}

const withRows = (bound: BoundParameter, rows: number): BoundParameter => {
  const { parameter } = bound
  const tall = (shape: Shape): Shape => shape.with(shape.length - parameter.shape.length, rows)
  return {
    ...bound,
    parameter: { ...parameter, shape: tall(parameter.shape), parts: parameter.parts.map((part) => ({ ...part, shape: tall(part.shape) })) },
    copies: [...bound.copies, ...zeroRows(parameter, rows, bound.copies[0]!)]
  }
}

/** Tensor-parallel sizes that divide `size`, for a hint. */
const divisors = (size: number): string => [1, 2, 4, 8, 16, 32, 64].filter((tp) => size % tp === 0).join(", ")

export interface PaddedConversion {
  readonly conversion: Conversion
  /** Absent: the vocabulary divides, or there is none. */
  readonly padding?: VocabularyPadding
}

/**
 * Pad the tables of the vocabulary where `tp` does not divide it, or to as many rows as are asked for. `tpOf` is the tensor-parallel size
 * of a module.
 *
 * @throws UsageError where the trainer's class does not pad, or a table has another number of rows than the vocabulary
 */
export const padVocabulary = (conversion: Conversion, provider: Provider, tpOf: (module: ConversionModule) => number, asked?: number): PaddedConversion => {
  const size = provider.fields["vocab_size"]
  const rule = provider.fields["make_vocab_size_divisible_by"]
  const divisibleBy = typeof rule === "number" ? rule : DIVISIBLE_BY
  let padding: VocabularyPadding | undefined
  if (asked !== undefined && typeof size !== "number") throw new UsageError({ problem: `--megatron-vocab-size ${asked} would do nothing: the model has no vocabulary` })
  const parameters = conversion.parameters.map((bound) => {
    const { module, parameter } = bound
    const tp = tpOf(module)
    const rows = parameter.shape[0]!
    if (!parameter.ragged || (asked === undefined ? rows % tp === 0 : rows !== size || rows === asked)) return bound
    if (rows !== size || provider.refuses?.includes("padded-vocabulary")) {
      throw new UsageError({
        problem: `${module.keyPrefix}${parameter.name}: its ${rows} rows cannot be divided among tp=${tp} ranks, and the trainer's ${provider.target.split(".").at(-1)} does not pad them`,
        hint: `tp can be ${divisors(rows)}`
      })
    }
    if (asked !== undefined && (asked < rows || asked % tp !== 0)) {
      throw new UsageError({ problem: `--megatron-vocab-size ${asked}: ${asked < rows ? `the model has ${rows} rows` : `tp=${tp} ranks cannot divide it`}`, hint: "It is at least the model's own size and a multiple of tp." })
    }
    padding = asked === undefined ? { from: rows, to: paddedVocabulary(rows, divisibleBy, tp), divisibleBy, tp } : { from: rows, to: asked, divisibleBy: asked / tp, tp }
    return withRows(bound, padding.to)
  })
  return padding ? { conversion: { ...conversion, parameters }, padding } : { conversion }
}

/** The fields that make the trainer build the padded tables. */
export const paddingFields = ({ divisibleBy }: VocabularyPadding): Provider["fields"] => ({
  make_vocab_size_divisible_by: divisibleBy,
  should_pad_vocab: true
})

export const paddingNote = ({ divisibleBy, from, to, tp }: VocabularyPadding): string =>
  `vocabulary: ${from} → ${to} rows, padded as the trainer pads it to a multiple of make_vocab_size_divisible_by × tp = ` +
  `${divisibleBy} × ${tp}; the ${to - from} added rows are zero`

/** A stored table of the vocabulary that has more rows than the model. */
export interface VocabularyCut {
  readonly key: string
  readonly stored: number
  readonly rows: number
}

/** The stored tables of the vocabulary whose last rows an export leaves out. */
export const cutsOf = (located: ReadonlyArray<Located>, vocabulary: PythonValue | undefined): ReadonlyArray<VocabularyCut> =>
  located.flatMap(({ bound: { parameter }, parts }) => {
    const rows = parameter.shape[0]!
    return !parameter.ragged || rows !== vocabulary ? [] : parts.flatMap(({ part, tensor }) => {
      const stored = tensor.shape[tensor.shape.length - parameter.shape.length]!
      return stored > rows ? [{ key: part.key, stored, rows }] : []
    })
  })

/** `chosen`: the user has said how many rows there are. */
export const cutNote = ({ rows, stored }: VocabularyCut, chosen?: number): string =>
  `vocabulary: ${stored} → ${rows} rows; ` +
  (chosen === undefined ? "the others are padding, nothing here says that they are vocabulary" : "the others are cut, as --vocab-size says")

/** PlanRefused `plan/vocabulary` unless the model, by a config.json that was told so, has a table of this many rows. */
export const requireRows = ({ parameters }: Conversion, rows: number): void => {
  if (parameters.some(({ parameter }) => parameter.ragged && parameter.shape[0] === rows)) return
  throw new PlanRefused({
    code: "plan/vocabulary",
    problem: `--vocab-size ${rows}: vocab_size in config.json does not decide how many rows the tables of this model have`,
    hint: "Change config.json by hand and leave --vocab-size out."
  })
}
