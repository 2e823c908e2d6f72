/**
 * Pieces of ranks joined to the tensors of the model: every tensor becomes boxes in the files of the ranks, in the form in which a
 * `torch_dist` checkpoint has it. Nothing is read; which pieces must be equal is said. Pure.
 */
import { rowsOfParts, type Split, splitOf } from "../../model/splits.ts"
import { sameShape, type Shape, stridesOf } from "../../tensor/Copy.ts"
import { bytesOf } from "../../tensor/DType.ts"
import type { DType } from "../../tensor/DType.ts"
import type { StoredChunk } from "../../torch/DcpMetadata.ts"
import { atRank, type Piece, type RankPieces } from "./pieces.ts"
import type { RankSizes } from "./rankFolders.ts"
import type { RankTensor } from "./RankArchive.ts"

/** A tensor of one layer and one expert: boxes of it in files. */
export interface Assembled {
  readonly key: string
  readonly expert?: number
  readonly dtype: DType
  readonly shape: Shape
  readonly chunks: ReadonlyArray<StoredChunk>
}

/** Two pieces that are the same tensor. */
export interface Replica {
  readonly piece: Piece
  readonly of: Piece
}

export interface AssembledModel {
  readonly tensors: ReadonlyArray<Assembled>
  readonly replicas: ReadonlyArray<Replica>
}

/** Rows [start, start + count) of a piece, as a chunk at `offsets` of the tensor. */
const rowsOf = ({ rank, tensor }: Piece, start: number, count: number, offsets: ReadonlyArray<number>): StoredChunk => {
  const { dtype, offset, shape, view } = tensor
  const sizes = shape.length === 0 ? shape : shape.with(0, count)
  const skipped = start * ((view.strides ?? stridesOf(shape))[0] ?? 0)
  return {
    offsets,
    sizes,
    file: rank.archive.file,
    offset: offset + skipped * bytesOf(dtype),
    length: sizes.reduce((n, extent) => n * extent, 1) * bytesOf(dtype),
    view: { ...view, elements: view.elements - skipped }
  }
}

const origin = (shape: Shape): ReadonlyArray<number> => shape.map(() => 0)

/** What the rank of `piece` has beside it in the same module. */
type Beside = (piece: Piece, sibling: string) => RankTensor | undefined

/** Gate and up are there if the second projection reads half as many columns as the first has rows. */
const isGated = (piece: Piece, beside: Beside): boolean => {
  const rows = piece.tensor.shape[0]!
  const second = beside(piece, "fc2")
  const columns = second?.shape[1]
  if (columns === undefined) throw atRank("checkpoint/rank-tensor", piece.rank, piece.name, "has no linear_fc2.weight beside it, so nothing says whether it holds gate and up")
  if (rows === columns) return false
  if (rows === 2 * columns) return true
  throw atRank("checkpoint/rank-shapes", piece.rank, piece.name, `has ${rows} rows beside a second projection of ${columns} columns: neither as many (not gated) nor twice as many (gate and up)`)
}

/** Rows of a rank's piece that are cut each by itself, and the key that each part is stored under. */
const partsOf = (key: string, { parts }: Split, piece: Piece, beside: Beside, ranks: number): ReadonlyArray<{ readonly key: string; readonly rows: number }> => {
  const rows = piece.tensor.shape[0] ?? 0
  if (parts === "whole" || (parts === "halves" && ranks === 1)) return [{ key, rows }]
  if (parts === "halves") return isGated(piece, beside) ? [{ key, rows: rows / 2 }, { key, rows: rows / 2 }] : [{ key, rows }]
  const output = beside(piece, "out_proj")?.shape[1]
  const heads = beside(piece, "A_log")?.shape[0]
  const counts = output === undefined || heads === undefined ? undefined : rowsOfParts(parts, rows, { output, heads })
  if (!counts) throw atRank("checkpoint/rank-shapes", piece.rank, piece.name, `has ${rows} rows, which are not those of ${parts.join(", ")} beside A_log and out_proj of this rank`)
  return parts.map((part, i) => ({ key: `${key}.${part}`, rows: counts[i]! }))
}

/**
 * Down projections of latent attention are whole on every rank, but cut in the local layers: then the up projection reads more
 * columns than the rank has rows, or as many times more as there are ranks.
 */
const isCutDown = (key: string, piece: Piece, beside: Beside, ranks: number): boolean => {
  const [, which] = /\.linear_(q|kv)_down_proj\.weight$/.exec(key) ?? []
  const columns = which === undefined ? undefined : beside(piece, `${which}_up`)?.shape[1]
  if (columns === undefined) return false
  const rows = piece.tensor.shape[0]!
  return which === "q" ? rows * ranks === columns : rows <= columns
}

/** One piece for each tensor-parallel rank; the others repeat one of them. */
const byRank = ({ expert, key, pieces }: RankPieces, { etp, tp }: RankSizes, replicas: Array<Replica>): ReadonlyArray<Piece> => {
  const ranks = expert === undefined ? tp : etp
  const own = new Map<number, Piece>()
  for (const piece of pieces) {
    const at = piece.rank.folder.tp % ranks
    const known = own.get(at)
    if (!known) own.set(at, piece)
    else {
      requireAlike(known, piece, undefined)
      replicas.push({ piece, of: known })
    }
  }
  for (let rank = 0; rank < ranks; rank++) {
    if (own.has(rank)) continue
    const [first] = pieces as [Piece]
    throw atRank("checkpoint/rank-tensor", first.rank, first.name, `is held by this rank, but by none that is number ${rank} of ${ranks} tensor-parallel ranks (${key})`, "The save is incomplete, or folders of two saves are mixed.")
  }
  return Array.from({ length: ranks }, (_, rank) => own.get(rank)!)
}

const requireAlike = (first: Piece, other: Piece, axis: number | undefined): void => {
  const [a, b] = [first.tensor, other.tensor]
  if (a.dtype !== b.dtype) throw atRank("checkpoint/rank-disagrees", other.rank, other.name, `is ${b.dtype}; on ${first.rank.folder.name} it is ${a.dtype}`)
  if (sameShape(a.shape, b.shape)) return
  const cut = axis !== undefined && a.shape.length === b.shape.length
  throw atRank("checkpoint/rank-shapes", other.rank, other.name,
    cut ? `is [${b.shape}] on this rank and [${a.shape}] on ${first.rank.folder.name}: slices along axis ${axis} are equal, and these do not add up to a tensor` : `is [${b.shape}]; on ${first.rank.folder.name} it is [${a.shape}]`)
}

/** The tensors that some pieces are: one, or the parts of a fused projection. */
const joined = (group: RankPieces, sizes: RankSizes, beside: Beside, replicas: Array<Replica>, foreign: boolean): ReadonlyArray<Assembled> => {
  const { expert, key } = group
  const pieces = byRank(group, sizes, replicas)
  const [first, ...others] = pieces as [Piece, ...Array<Piece>]
  const own = splitOf(key)
  if (!own && !foreign && others.length > 0) {
    throw atRank("checkpoint/rank-split", first.rank, first.name, `is no parameter that is known here, so nothing says how ${pieces.length} tensor-parallel ranks divide it`, "Load it with the trainer that wrote it and save it with --ckpt-format torch_dist.")
  }
  const split: Split = own && own.axis === undefined && others.length > 0 && isCutDown(key, first, beside, pieces.length) ? { axis: 0, parts: "whole" } : own ?? { axis: undefined, parts: "whole" }
  for (const other of others) requireAlike(first, other, split.axis)
  const facts = { dtype: first.tensor.dtype, ...(expert === undefined ? {} : { expert }) }
  const { shape } = first.tensor
  const { axis } = split
  if (axis === undefined) {
    for (const other of others) replicas.push({ piece: other, of: first })
    return [{ key, ...facts, shape, chunks: [rowsOf(first, 0, shape[0] ?? 1, origin(shape))] }]
  }
  if (axis > 0) {
    const extent = shape[axis]!
    const chunks = pieces.map((piece, rank) => rowsOf(piece, 0, shape[0]!, origin(shape).with(axis, rank * extent)))
    return [{ key, ...facts, shape: shape.with(axis, extent * pieces.length), chunks }]
  }
  const parts = partsOf(key, split, first, beside, pieces.length)
  const keys = new Map<string, { rows: number; readonly chunks: Array<StoredChunk> }>()
  let start = 0
  for (const part of parts) {
    const at = keys.get(part.key) ?? { rows: 0, chunks: [] }
    keys.set(part.key, at)
    for (const [rank, piece] of pieces.entries()) at.chunks.push(rowsOf(piece, start, part.rows, origin(shape).with(0, at.rows + rank * part.rows)))
    at.rows += part.rows * pieces.length
    start += part.rows
  }
  return Array.from(keys, ([stored, { chunks, rows }]) => ({ key: stored, ...facts, shape: shape.with(0, rows), chunks }))
}

/** The names of what stands beside a tensor, as the rank calls it. */
const SIBLINGS: Readonly<Record<string, (name: string) => string>> = {
  fc2: (name) => name.replace(/linear_fc1\.(weight|bias)(\d*)$/, "linear_fc2.weight$2").replace(/dense_h_to_4h\.(weight|bias)$/, "dense_4h_to_h.weight"),
  out_proj: (name) => name.replace(/\.(in_proj|conv1d)\.(weight|bias)$/, ".out_proj.weight"),
  A_log: (name) => name.replace(/\.(in_proj|conv1d)\.(weight|bias)$/, ".A_log"),
  q_up: (name) => name.replace(/_down_proj\.weight$/, "_up_proj.weight"),
  kv_up: (name) => name.replace(/_down_proj\.weight$/, "_up_proj.weight")
}

const beside: Beside = ({ name, rank, tensor }, sibling) => {
  const model = rank.archive.models.find(({ tensors }) => tensors.get(name) === tensor)
  return model?.tensors.get(SIBLINGS[sibling]!(name))
}

/**
 * Join what belongs together. `foreign`: a module may be another library's, which does not divide its parameters; what is not known here is
 * then whole on every rank, and must be equal. Errors: InvalidFile `checkpoint/rank-…`, naming rank and tensor.
 */
export const assemble = (groups: ReadonlyArray<RankPieces>, sizes: RankSizes, foreign = false): AssembledModel => {
  const replicas: Array<Replica> = []
  const tensors = groups.flatMap((group) => joined(group, sizes, beside, replicas, foreign))
  return { tensors, replicas }
}
