/**
 * Where a rank stands inside its component.
 *
 * The ranks of a component form two grids over the same numbers (Megatron's order `tp-cp-ep-dp-pp`, of which the dense grid
 * has no ep and the expert grid no cp). The first axis varies fastest:
 *
 * - dense: tp, cp, dp, pp
 * - expert: etp, ep, edp, pp
 *
 * Both agree on pp, the slowest axis.
 */
import { expertDataParallelSize, type ModuleParallelism, rankCount } from "./ModuleParallelism.ts"

export interface DenseCoordinates {
  readonly tp: number
  readonly cp: number
  readonly dp: number
  readonly pp: number
}

export interface ExpertCoordinates {
  readonly etp: number
  readonly ep: number
  /** Index among the copies of an expert. */
  readonly edp: number
  readonly pp: number
}

export type RankCoordinates = DenseCoordinates & ExpertCoordinates

/** One axis of a grid: `size` positions, `stride` ranks apart. */
export interface Axis<Name extends string = string> {
  readonly name: Name
  readonly size: number
  readonly stride: number
}

const axes = <Name extends string>(sizes: ReadonlyArray<readonly [Name, number]>): ReadonlyArray<Axis<Name>> => {
  let stride = 1
  return sizes.map(([name, size]) => {
    const axis = { name, size, stride }
    stride *= size
    return axis
  })
}

export const denseAxes = ({ cp, dp, pp, tp }: ModuleParallelism): ReadonlyArray<Axis<keyof DenseCoordinates>> =>
  axes([["tp", tp], ["cp", cp], ["dp", dp], ["pp", pp]])

export const expertAxes = (parallelism: ModuleParallelism): ReadonlyArray<Axis<keyof ExpertCoordinates>> =>
  axes([
    ["etp", parallelism.etp],
    ["ep", parallelism.ep],
    ["edp", expertDataParallelSize(parallelism)],
    ["pp", parallelism.pp]
  ])

/** Whether a global rank belongs to the component. */
export const ownsRank = (parallelism: ModuleParallelism, rank: number): boolean =>
  Number.isInteger(rank) && rank >= parallelism.rankOffset && rank < parallelism.rankOffset + rankCount(parallelism)

/**
 * Both coordinates of a global rank.
 *
 * @throws RangeError if the component does not own the rank
 */
export const coordinatesOf = (parallelism: ModuleParallelism, rank: number): RankCoordinates => {
  if (!ownsRank(parallelism, rank)) throw new RangeError(`rank ${rank} is outside the component`)
  const local = rank - parallelism.rankOffset
  const position = ({ size, stride }: Axis) => Math.floor(local / stride) % size
  const [tp, cp, dp, pp] = denseAxes(parallelism).map(position)
  const [etp, ep, edp] = expertAxes(parallelism).map(position)
  return { tp: tp!, cp: cp!, dp: dp!, pp: pp!, etp: etp!, ep: ep!, edp: edp! }
}

const rankOn = <Name extends string>(
  offset: number,
  grid: ReadonlyArray<Axis<Name>>,
  at: Readonly<Record<Name, number>>
): number =>
  grid.reduce((rank, { name, size, stride }) => {
    const position: number = at[name]
    if (!Number.isInteger(position) || position < 0 || position >= size) {
      throw new RangeError(`${name} ${position} is outside 0..${size - 1}`)
    }
    return rank + position * stride
  }, offset)

/** The global rank at a dense position; inverse of {@link coordinatesOf}. Throws a RangeError outside the grid. */
export const rankAt = (parallelism: ModuleParallelism, at: DenseCoordinates): number =>
  rankOn(parallelism.rankOffset, denseAxes(parallelism), at)

/** The global rank at an expert position; inverse of {@link coordinatesOf}. Throws a RangeError outside the grid. */
export const expertRankAt = (parallelism: ModuleParallelism, at: ExpertCoordinates): number =>
  rankOn(parallelism.rankOffset, expertAxes(parallelism), at)

/** Which part of the model is written: an expert shard has `ep` and `etp`, a dense shard `tp`, a replicated tensor neither. */
export type WrittenPart =
  | { readonly pp: number; readonly tp?: number }
  | { readonly pp: number; readonly ep: number; readonly etp: number }

/**
 * The global rank whose file receives a part, i.e. its main replica. Rank *r* writes `__r_0.distcp`.
 *
 * @throws RangeError if the component has no such part
 */
export const writerRank = (parallelism: ModuleParallelism, part: WrittenPart): number =>
  "ep" in part
    ? expertRankAt(parallelism, { etp: part.etp, ep: part.ep, edp: 0, pp: part.pp })
    : rankAt(parallelism, { tp: part.tp ?? 0, cp: 0, dp: 0, pp: part.pp })
