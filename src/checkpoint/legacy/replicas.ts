/** What several ranks of a `torch` checkpoint hold must be the same on all of them. */
import { Effect, Stream } from "effect"
import { compare, type TargetArray } from "../../engine/index.ts"
import { stridesOf, volume } from "../../tensor/Copy.ts"
import type { Replica } from "./assemble.ts"
import { atRank, type Piece } from "./pieces.ts"

/** All that a rank holds of a tensor, as an array in C order. */
export const pieceArray = ({ name, rank: { archive: { path } }, tensor: { dtype, offset, shape, view } }: Piece): TargetArray => {
  const strides = stridesOf(shape)
  const source = { path, offset, dtype, shape: view.strides ? [view.elements] : shape }
  return {
    id: name,
    dtype,
    shape,
    copies: () => (volume(shape) === 0 ? [] : [{ shape, source: { tensor: source, offset: 0, strides: view.strides ?? strides }, target: { tensor: name, offset: 0, strides } }])
  }
}

const differing = ({ of, piece }: Replica, found: { readonly firstDifference?: { readonly element: number; readonly assembled: string; readonly stored: string } }) => {
  const { assembled, element, stored } = found.firstDifference!
  const what = `differs from ${of.name === piece.name ? "the one" : of.name} of ${of.rank.folder.name}, which it should equal: element ${element} is ${assembled} here and ${stored} there`
  return atRank("checkpoint/rank-disagrees", piece.rank, piece.name, what, "The ranks have drifted apart in training, or the folders are of two saves. Which of them is right is not for this program to say.")
}

/**
 * Compare the tensors that ranks have in common: norms, routers and, where experts are divided, all dense weights. Reads them.
 *
 * @throws InvalidFile `checkpoint/rank-disagrees`, naming the rank and the tensor; IoError.
 */
export const requireEqualReplicas = Effect.fnUntraced(function*({ ranks }: { readonly ranks?: { readonly replicas: ReadonlyArray<Replica> } }) {
  const replicas = ranks?.replicas ?? []
  if (replicas.length === 0) return
  let at = 0
  yield* compare(Iterator.from(replicas).map(({ of, piece }) => ({ array: pieceArray(piece), with: pieceArray(of) }))).pipe(
    Stream.runForEach((found) => {
      const replica = replicas[at++]!
      return found.equal ? Effect.void : Effect.fail(differing(replica, found))
    })
  )
})
