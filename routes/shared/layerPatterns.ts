/** Layers that differ in what they see, or in whether positions are encoded, as the trainer's fields say it: one number per layer. */
import type { PythonValue } from "../../src/runconfig/Provider.ts"

/** A window in some layers, or in all. Its own token is one of those that a query sees; the trainer counts those before it. */
export const windowFieldsOf = (window: number | null | undefined, windowed: ReadonlyArray<boolean>): Record<string, PythonValue> => {
  if (!window || !windowed.includes(true)) return {}
  return { window_size: [window - 1, 0], ...(windowed.includes(false) ? { window_attn_skip_freq: windowed.map((own) => (own ? 1 : 0)) } : {}) }
}

/** Positions in some layers only. */
export const noRopeFields = (encoded: ReadonlyArray<boolean>): Record<string, PythonValue> =>
  encoded.includes(false) ? { no_rope_freq: encoded.map((own) => (own ? 0 : 1)) } : {}
