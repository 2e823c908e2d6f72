import { type Box, type Copy, rebase, type Shape, type Side } from "../../src/tensor/Copy.ts"

/** The part of a copy whose `side` lies in `box`, that side addressed inside the box (C-order). */
export const clip = (copy: Copy, side: Side, shape: Shape, box: Box): Array<Copy> =>
  rebase(copy, side, shape, box, copy[side].tensor, box.sizes, box.sizes.map(() => 0))
