/** Pieces of Hugging Face config schemas that many families share. Unknown keys are kept: HF adds them freely. */
import { z } from "zod"

/** Sizes are capped so that no product of two of them leaves the safe integers. */
export const size = z.int().min(1).max(2 ** 24)
/** A number that may be zero, capped like {@link size}. */
export const count = z.int().min(0).max(2 ** 24)
/** A number of layers or experts; each becomes entries in memory. */
export const many = z.int().min(0).max(100_000)

/**
 * A section whose absent fields have the values that the published config class gives them. Null is a value: the class derives
 * the field from others.
 */
export const defaulted = <T>(defaults: Readonly<Record<string, unknown>>, schema: z.ZodType<T>): z.ZodType<T> =>
  z.preprocess((c) => (typeof c === "object" && c !== null && !Array.isArray(c) ? { ...defaults, ...c } : c), schema)

/** The longest text of a model whose config.json does not say: that of its config class. */
export const positions = (byDefault: number) => ({ max_position_embeddings: size.nullable().default(byDefault) })

/** `dtype` or, in older files, `torch_dtype`. */
export const dtypeField = z.enum(["bfloat16", "float16", "float32"]).nullish()

/** Rotary settings, in `rope_parameters` or, in older files, beside it. */
export const rope = {
  rope_theta: z.number().positive().nullish(),
  partial_rotary_factor: z.number().nullish(),
  rope_parameters: z.looseObject({
    rope_theta: z.number().positive().nullish(),
    partial_rotary_factor: z.number().nullish(),
    mrope_section: z.array(z.int()).nullish()
  }).nullish()
}

/** The base of the rotary embedding and the part of a head that it turns, with HF's defaults. */
export const ropeOf = (c: z.infer<z.ZodObject<typeof rope>>) => ({
  theta: c.rope_parameters?.rope_theta ?? c.rope_theta ?? 10000,
  percent: c.rope_parameters?.partial_rotary_factor ?? c.partial_rotary_factor ?? 1
})
