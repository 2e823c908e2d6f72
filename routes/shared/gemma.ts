/** What Gemma models compute: scaled embeddings, norms around 1, and, from the second on, windows by turns. */
import type { z } from "zod"
import type { ForwardFacts } from "../../src/model/Forward.ts"
import { dualRope, type dualRopeFields } from "./dualRope.ts"
import { type ForwardChange, forwardOf, rotaryOf, windowsAt } from "./forward.ts"
import { headDimOf, type TextConfig } from "./llama.ts"
import { windowedBut } from "./slidingTypes.ts"

export const gemmaForward = (t: TextConfig, change: ForwardChange = {}): ForwardFacts | undefined =>
  forwardOf(t, { hiddenAct: "gelu_pytorch_tanh", zeroCentred: true, embeddingScale: Math.sqrt(t.hidden_size), ...change })

type Third = TextConfig & z.infer<z.ZodObject<typeof dualRopeFields>> & { readonly query_pre_attn_scalar: number; readonly sliding_window: number | null }

/** From the third on: layers with a window have a rotary base of their own. */
export const dualRopeForward = (t: Third): ForwardFacts | undefined => {
  // Then it is no decoder.
  if (t["use_bidirectional_attention"] === true) return undefined
  const { factor, global, local } = dualRope(t)
  const pattern = t["sliding_window_pattern"]
  const kinds = windowedBut(t, typeof pattern === "number" ? pattern : 6)
  const plain = { ...t, rope_scaling: null, rope_parameters: null, rope_theta: global }
  const turned = rotaryOf(plain, headDimOf(t))
  if (turned === "unknown") return undefined
  const stretched = factor === undefined ? turned : { ...turned, scaling: { kind: "linear", factor } as const }
  return gemmaForward(plain, {
    layer: (i) => ({ scale: 1 / Math.sqrt(t.query_pre_attn_scalar), rotary: kinds[i] === "sliding_attention" ? { ...turned, base: local } : stretched }),
    windows: windowsAt(kinds, t.sliding_window)
  })
}
