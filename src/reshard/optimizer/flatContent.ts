/** Tensors in model space that are put together from flat ones. Pure. */
import { ChunkFinder } from "../../checkpoint/ChunkFinder.ts"
import type { StoredArrays } from "../../checkpoint/StoredArrays.ts"
import type { SourceCopy } from "../../engine/index.ts"
import type { ItemsPlace, SpaceTensor } from "../../space/TensorSpace.ts"
import { type Box, type Shape, stridesOf } from "../../tensor/Copy.ts"

/** A box of a tensor in model space, whose elements lie in C order from an element of a flat tensor on. */
export interface FlatPiece extends Box {
  readonly tensor: SpaceTensor<ItemsPlace>
  /** Address of its first element in the C order of the flat tensor. */
  readonly start: number
}

/** What two boxes of one tensor have in common. */
const meeting = (a: Box, b: Box): Box | undefined => {
  const offsets = a.offsets.map((o, k) => Math.max(o, b.offsets[k]!))
  const sizes = offsets.map((o, k) => Math.min(a.offsets[k]! + a.sizes[k]!, b.offsets[k]! + b.sizes[k]!) - o)
  return sizes.every((n) => n > 0) ? { offsets, sizes } : undefined
}

const addressIn = (offsets: Shape, box: Box, strides: Shape): number => offsets.reduce((sum, o, k) => sum + (o - box.offsets[k]!) * strides[k]!, 0)

/** Pieces that do not overlap, found by the boxes that they meet. */
export class FlatPieces {
  readonly #finder: ChunkFinder<FlatPiece>

  /** `shape`: of the tensor in model space. */
  constructor(pieces: ReadonlyArray<FlatPiece>, shape: Shape) {
    this.#finder = new ChunkFinder({ chunks: pieces, shape })
  }

  /** The copies that fill the array `target`, which is the box `wanted`. */
  copies(arrays: StoredArrays, wanted: Box, target: string): ReadonlyArray<SourceCopy> {
    const out = stridesOf(wanted.sizes)
    return Array.from(this.#finder.meeting(wanted)).flatMap((piece) => {
      const common = meeting(piece, wanted)
      if (!common) return []
      const own = stridesOf(piece.sizes)
      return arrays.from(piece.tensor.place.stored, {
        shape: common.sizes,
        source: { tensor: piece.tensor.name, offset: piece.start + addressIn(common.offsets, piece, own), strides: own },
        target: { tensor: target, offset: addressIn(common.offsets, wanted, out), strides: out }
      })
    })
  }
}
