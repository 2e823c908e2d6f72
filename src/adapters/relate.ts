/**
 * A stored adapter and the adapters of HF matrices as copies, in both directions at once: `linear_in` holds the A of each matrix,
 * `linear_out` the rows of each B where the parameter has the matrix's rows. Pure.
 */
import type { Copy, Shape } from "../tensor/Copy.ts"
import type { Factor, Positions, Strip } from "./factors.ts"
import type { FactorView, PeftPair } from "./peftPair.ts"

/** Which ranks of the stored pair are which of the HF pair's. */
export interface PairRanks {
  readonly count: number
  readonly hf: number
  readonly stored: number
  /** Ranks that the stored pair has in all. */
  readonly of: number
}

const along = ({ offset, strides }: Positions, step: number) => ({ offset: offset * step, strides: strides.map((s) => s * step) })

/** The part of a matrix that a strip and some ranks are. */
const hfView = (view: FactorView, strip: Strip, hf: number) => {
  const { offset, strides } = along(strip.hf, view.stride)
  return { tensor: view.tensor, offset: view.offset + hf * view.rankStride + offset, strides }
}

/** Copies from A of an HF matrix to `linear_in [ranks, columns]`, known as `target`. */
export const inputCopies = ({ columns }: Pick<Factor, "columns">, { input }: PeftPair, ranks: PairRanks, width: number, target: string): ReadonlyArray<Copy> =>
  columns.map((strip) => {
    const source = hfView(input, strip, ranks.hf)
    return {
      shape: [ranks.count, ...strip.shape],
      source: { ...source, strides: [input.rankStride, ...source.strides] },
      target: { tensor: target, offset: ranks.stored * width + strip.parameter.offset, strides: [width, ...strip.parameter.strides] }
    }
  })

/** Copies from B of an HF matrix to `linear_out [rows, ranks]`, known as `target`. */
export const outputCopies = ({ rows }: Pick<Factor, "rows">, { output }: PeftPair, ranks: PairRanks, target: string): ReadonlyArray<Copy> =>
  rows.map((strip) => {
    const source = hfView(output, strip, ranks.hf)
    const { offset, strides } = along(strip.parameter, ranks.of)
    return {
      shape: [...strip.shape, ranks.count],
      source: { ...source, strides: [...source.strides, output.rankStride] },
      target: { tensor: target, offset: offset + ranks.stored, strides: [...strides, 1] },
      ...(strip.echo ? { echo: true as const } : {})
    }
  })

/** Copies from the row lengths of an HF matrix to those of the parameter. */
export const magnitudeCopies = ({ rows }: Pick<Factor, "rows">, tensor: string, target: string): ReadonlyArray<Copy> =>
  rows.map((strip) => ({
    shape: strip.shape,
    source: { tensor, ...strip.hf },
    target: { tensor: target, ...strip.parameter },
    ...(strip.echo ? { echo: true as const } : {})
  }))

/** Elements of a tensor. */
export interface AdapterBlock extends Positions {
  readonly shape: Shape
}

/** Of B of an HF matrix with `all` ranks: the rows of a stored adapter, in the ranks that are others'. */
export const outputZeros = ({ rows }: Pick<Factor, "rows">, { output }: PeftPair, { count, hf }: PairRanks, all: number): ReadonlyArray<AdapterBlock> =>
  rows.filter(({ echo }) => !echo).flatMap((strip) =>
    [[0, hf], [hf + count, all - hf - count]].filter(([, n]) => n! > 0).map(([from, n]) => {
      const { offset, strides } = hfView(output, strip, from!)
      return { shape: [...strip.shape, n!], offset, strides: [...strides, output.rankStride] }
    }))

/** Of `linear_out` with `all` ranks: what no adapter of an HF matrix gives it. */
export const storedZeros = (
  { blank, factors }: { readonly factors: ReadonlyArray<Factor>; readonly blank: ReadonlyArray<Strip> },
  given: ReadonlyArray<{ readonly rows: ReadonlyArray<Strip>; readonly ranks: PairRanks }>,
  all: number
): ReadonlyArray<AdapterBlock> => {
  const block = (strip: Strip, from: number, count: number): ReadonlyArray<AdapterBlock> => {
    const { offset, strides } = along(strip.parameter, all)
    return count <= 0 ? [] : [{ shape: [...strip.shape, count], offset: offset + from, strides: [...strides, 1] }]
  }
  const rest = [...blank, ...factors.flatMap(({ rows }) => (given.some((g) => g.rows === rows) ? [] : rows))]
  return [
    ...rest.flatMap((strip) => block(strip, 0, all)),
    ...given.flatMap(({ ranks: { count, stored }, rows }) => rows.flatMap((strip) => [...block(strip, 0, stored), ...block(strip, stored + count, all - stored - count)]))
  ]
}

/** Zeros, as a copy that reads nothing of `like`. */
export const zeroBlock = <Source>(like: Source, target: string, { offset, shape, strides }: AdapterBlock): Copy<Source> =>
  ({ shape, source: { tensor: like, offset: 0, strides: shape.map(() => 0) }, target: { tensor: target, offset, strides }, transform: { kind: "fill", value: 0 }, echo: true })
