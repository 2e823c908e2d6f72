/** A whole decoder as steps: token embeddings, layers, the last norm, logits. */
import { widened } from "../arithmetic/convert.ts"
import { softCapped } from "./elementwise.ts"
import { Later } from "./Later.ts"
import { decoderLayer, type Pass } from "./layers.ts"
import type { Steps } from "./steps.ts"

/** Logits [positions, width] of the tokens from `first` on; the array is the receiver's. */
export type TakeLogits = (logits: Float32Array, width: number, first: number) => void

function* embedded<P>({ arithmetic, plan }: Pass<P>, tokens: ReadonlyArray<number>): Steps<P, Later<Float32Array>> {
  const all = new Float32Array(tokens.length * plan.hidden)
  yield {
    parameter: plan.embedding,
    rows: tokens,
    take: ({ bytes, columns, dtype }, first) => all.set(widened({ bytes, dtype }), first * columns)
  }
  return new Later(() => {
    if (plan.facts.embeddingScale !== undefined) arithmetic.scale(all, plan.facts.embeddingScale)
    return all
  })
}

/** Reads each parameter once, in order; `onLayer` is told when a layer is done. */
export function* decode<P>(pass: Pass<P>, tokens: ReadonlyArray<number>, take: TakeLogits, onLayer?: (layer: number) => void): Steps<P, void> {
  const { plan } = pass
  let states = yield* embedded(pass, tokens)
  for (const [index, layer] of plan.layers.entries()) {
    const out = yield* decoderLayer(pass, layer, states)
    states = out
    yield { compute: () => {
      out.get()
      onLayer?.(index)
    } }
  }
  const last = yield* pass.norm(plan.norm, states)
  yield pass.product(plan.head, last, (logits, rows, first) => {
    if (plan.facts.logitScale !== undefined) pass.arithmetic.scale(logits, plan.facts.logitScale)
    softCapped(logits, plan.facts.logitSoftCap)
    take(logits, rows, first)
  })
}
