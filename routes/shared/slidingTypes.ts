/** Which layers look back through a window only, where a config lists them, or gives their pattern, or leaves it to its class. */
import { z } from "zod"
import { count } from "./config.ts"
import { perLayer } from "./moe.ts"

type Kind = "sliding_attention" | "full_attention"

/** Every n-th layer is full, by default the fourth; or letters that repeat: L for a window, G for full attention. */
export const slidingPattern = z.union([count, z.string().regex(/^[LG]+$/).max(1000)]).nullable().default(4)

/** Fields of a config whose last layers may have a window. */
export const windowFields = {
  layer_types: z.array(z.enum(["sliding_attention", "full_attention"])).max(100_000).nullish(),
  use_sliding_window: z.boolean().nullish(),
  /** By default 4096. */
  sliding_window: count.nullish(),
  /** By default 28. */
  max_window_layers: count.nullish()
}
type Windows = z.infer<z.ZodObject<typeof windowFields>>

interface Config {
  readonly num_hidden_layers: number
  readonly layer_types?: ReadonlyArray<string> | null | undefined
  readonly sliding_window?: number | null | undefined
  readonly sliding_window_pattern: number | string | null
}

const byPattern = (pattern: number | string, layer: number): boolean =>
  typeof pattern === "string" ? pattern[layer % pattern.length] === "L" : pattern > 0 && (layer + 1) % pattern !== 0

/** The last layers have a window where the config asks for one at all; `max_window_layers` do without. */
export const windowedTail = (t: { readonly num_hidden_layers: number } & Windows): ReadonlyArray<Kind> =>
  t.layer_types ??
    Array.from({ length: t.num_hidden_layers }, (_, i) => (t.use_sliding_window && t.sliding_window !== null && i >= (t.max_window_layers ?? 28) ? "sliding_attention" : "full_attention"))

/** A window that reaches in both directions has half of its length on each side. */
export const slidingWindowOf = (t: { readonly sliding_window: number; readonly use_bidirectional_attention?: unknown }): number =>
  t.use_bidirectional_attention === true ? Math.floor(t.sliding_window / 2) + 1 : t.sliding_window

/** One kind per decoder layer. Throws FormatError where the list is shorter than the decoder. */
export const slidingTypes = (t: Config): ReadonlyArray<Kind> => {
  if (t.layer_types) return perLayer(t.layer_types, t.num_hidden_layers, "layer_types").map((kind) => (kind === "full_attention" ? kind : "sliding_attention"))
  const pattern = t.sliding_window ? t.sliding_window_pattern ?? 0 : 0
  return Array.from({ length: t.num_hidden_layers }, (_, i) => (byPattern(pattern, i) ? "sliding_attention" : "full_attention"))
}

const layerTypes = z.array(z.string()).max(100_000)

/** All but every n-th layer have a window, unless config.json lists them. */
export const windowedBut = (t: { readonly num_hidden_layers: number; readonly layer_types?: unknown }, every: number): ReadonlyArray<string> =>
  layerTypes.safeParse(t.layer_types).data ?? Array.from({ length: t.num_hidden_layers }, (_, i) => ((i + 1) % every === 0 ? "full_attention" : "sliding_attention"))
