/**
 * Rotary embeddings stretched beyond the trained length: `rope_scaling` or, in newer files, `rope_parameters` with a type
 * other than `default`, and the provider fields of a GPT model (models with latent attention have fields of their own).
 */
import { z } from "zod"
import type { PythonValue } from "../../src/runconfig/Provider.ts"

const section = z.looseObject({
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  factor: z.number().nullish(),
  original_max_position_embeddings: z.number().nullish(),
  beta_fast: z.number().nullish(),
  beta_slow: z.number().nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  truncate: z.boolean().nullish()
})

/** A section that stretches rotary embeddings, parsed. */
export type RopeScaling = z.infer<typeof section>

/** Config fields of stretched rotary embeddings; `rope_parameters` is declared with the rotary fields. */
export const scaling = { rope_scaling: section.nullish() }

/** The section that stretches (YaRN: by default from the length of the config), with its type (`yarn`, `llama3`, `linear`, …); undefined if nothing does. */
export const scalingOf = (c: {
  readonly rope_scaling?: RopeScaling | null | undefined
  readonly rope_parameters?: object | null | undefined
  readonly max_position_embeddings?: number | null | undefined
}): (RopeScaling & { readonly kind: string }) | undefined => {
  const parsed = section.safeParse(c.rope_parameters)
  for (const found of [c.rope_scaling, parsed.success ? parsed.data : undefined]) {
    // Where both stand, transformers and the trainer read `type`.
    const kind = found?.type || found?.rope_type
    if (found && kind && kind !== "default") {
      const original = found.original_max_position_embeddings ?? (kind === "yarn" ? c.max_position_embeddings : undefined)
      return { ...found, kind, ...(typeof original === "number" ? { original_max_position_embeddings: original } : {}) }
    }
  }
  return undefined
}

/** Provider fields for `yarn`; the other types differ between families ({@link llamaScalingFields}). */
export const scalingFields = (c: Parameters<typeof scalingOf>[0]): Record<string, PythonValue> => {
  const s = scalingOf(c)
  if (s?.kind !== "yarn") return {}
  return {
    position_embedding_type: "yarn",
    yarn_rotary_scaling_factor: s.factor ?? null,
    yarn_original_max_position_embeddings: s.original_max_position_embeddings ?? null,
    yarn_beta_fast: s.beta_fast ?? null,
    yarn_beta_slow: s.beta_slow ?? null,
    yarn_mscale: s.mscale ?? null,
    yarn_mscale_all_dim: s.mscale_all_dim ?? null,
    ...(typeof s.truncate === "boolean" ? { yarn_correction_range_round_to_int: s.truncate } : {})
  }
}

/** A factor in `rope_parameters`, whatever the type: providers that read nothing else of the section. */
export const ropeFactorFields = ({ rope_parameters, rope_scaling }: Parameters<typeof scalingOf>[0]): Record<string, PythonValue> => {
  const parsed = section.safeParse(rope_scaling ?? rope_parameters)
  const factor = parsed.success ? parsed.data.factor : undefined
  return typeof factor === "number" ? { rope_scaling: true, rope_scaling_factor: { $float: factor } } : {}
}

/** `llama3` frequencies (factor 8 unless given) and linear interpolation, where a family's provider knows them. */
export const llamaScalingFields = (c: Parameters<typeof scalingOf>[0]): Record<string, PythonValue> => {
  const s = scalingOf(c)
  if (s?.kind === "llama3") return { rope_scaling: true, rope_scaling_factor: { $float: s.factor ?? 8 } }
  if (s?.kind === "linear") return { seq_len_interpolation_factor: { $float: s.factor ?? 1 } }
  return {}
}
