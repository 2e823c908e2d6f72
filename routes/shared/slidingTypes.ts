/** Which layers look back through a window only, where a config lists them, or gives their pattern, or leaves it to its class. */
import { z } from "zod"
import { count } from "./config.ts"
import { perLayer } from "./moe.ts"

type Kind = "sliding_attention" | "full_attention"

/** Every n-th layer is full, by default the fourth; or letters that repeat: L for a window, G for full attention. */
export const slidingPattern = z.union([count, z.string().regex(/^[LG]+$/).max(1000)]).nullable().default(4)

const tail = z.looseObject({
  layer_types: z.array(z.enum(["sliding_attention", "full_attention"])).max(100_000).nullish(),
  use_sliding_window: z.boolean().nullish(),
  sliding_window: count.nullable().default(4096),
  max_window_layers: count.default(28)
})

interface Config {
  readonly num_hidden_layers: number
  readonly layer_types?: ReadonlyArray<string> | null | undefined
  readonly sliding_window?: number | null | undefined
  readonly sliding_window_pattern: number | string | null
}

const byPattern = (pattern: number | string, layer: number): boolean =>
  typeof pattern === "string" ? pattern[layer % pattern.length] === "L" : pattern > 0 && (layer + 1) % pattern !== 0

/** The last layers have a window where the config asks for one at all; `max_window_layers` do without. */
export const windowedTail = (t: { readonly num_hidden_layers: number } & Readonly<Record<string, unknown>>): ReadonlyArray<Kind> => {
  const { layer_types: listed, max_window_layers: first, sliding_window: window, use_sliding_window: use } = tail.parse(t)
  return listed ?? Array.from({ length: t.num_hidden_layers }, (_, i) => (use && window && i >= first ? "sliding_attention" : "full_attention"))
}

/** One kind per decoder layer. Throws FormatError where the list is shorter than the decoder. */
export const slidingTypes = (t: Config): ReadonlyArray<Kind> => {
  if (t.layer_types) return perLayer(t.layer_types, t.num_hidden_layers, "layer_types").map((kind) => (kind === "full_attention" ? kind : "sliding_attention"))
  const pattern = t.sliding_window ? t.sliding_window_pattern ?? 0 : 0
  return Array.from({ length: t.num_hidden_layers }, (_, i) => (byPattern(pattern, i) ? "sliding_attention" : "full_attention"))
}
