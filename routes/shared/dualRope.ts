/** Two rotary bases: one for sliding-window layers, one for full attention. */
import { z } from "zod"

const base = z.looseObject({
  rope_theta: z.number().nullish(),
  partial_rotary_factor: z.number().nullish(),
  factor: z.number().nullish()
}).nullish()

/** `rope_parameters` by layer type or, in older files, two bases and a scaling beside each other. */
export const dualRopeFields = {
  rope_local_base_freq: z.number().nullish(),
  rope_theta: z.number().nullish(),
  rope_scaling: z.looseObject({ factor: z.number().nullish() }).nullish(),
  rope_parameters: z.looseObject({ rope_theta: z.number().nullish(), full_attention: base, sliding_attention: base }).nullish()
}

export const dualRope = (c: z.infer<z.ZodObject<typeof dualRopeFields>>) => {
  const { full_attention: full, rope_theta: both, sliding_attention: sliding } = c.rope_parameters ?? {}
  return {
    local: sliding?.rope_theta ?? c.rope_local_base_freq ?? 10_000,
    global: full?.rope_theta ?? both ?? c.rope_theta ?? 1_000_000,
    /** Stretch of the full-attention layers. */
    factor: full?.factor ?? c.rope_scaling?.factor ?? undefined,
    /** Rotated part of a full-attention head. */
    partial: full?.partial_rotary_factor ?? undefined
  }
}
