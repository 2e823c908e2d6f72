/** What the documents of several commands are made of. */
import { z } from "zod"
import type { TensorRow } from "../../api/checkpoints.ts"

/** Every field of `T`, none besides. */
export type FieldsOf<T> = { readonly [K in keyof T]-?: z.ZodType<T[K]> }

export const text = z.string()

export const texts = z.array(z.string())

export const count = z.int().min(0)

export const bytes = count.describe("Bytes")

export const size = z.int().min(1)

/** JSON has no word for infinite and NaN. */
export const real = z.number().nullable().describe("null: infinite, or not a number") as unknown as z.ZodType<number>

export const shape = z.array(count).describe("Of the whole tensor")

export const dtype = z.string().describe("As safetensors names it: BF16, F32, F8_E4M3 …") as unknown as z.ZodType<TensorRow["dtype"]>

export const form = z.enum(["mimo", "standard"])

export const notes = texts.describe("What else there is to know, for people")

export const optional = <T extends z.ZodType>(type: T) => z.exactOptional(type)

const pipeline = z.strictObject({
  firstStageLayers: optional(size),
  lastStageLayers: optional(size),
  embeddingAsStage: optional(z.boolean()),
  lossAsStage: optional(z.boolean()),
  virtualStages: optional(z.int()),
  layout: optional(text)
})

export const sizes = { tp: size, pp: size, dp: size, cp: size, ep: size, etp: size, pipeline: optional(pipeline) }

export const layoutRows = z.array(z.strictObject({ component: text, ...sizes, ranks: text.describe("0-3, or 4") }))
