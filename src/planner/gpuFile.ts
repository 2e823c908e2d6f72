/** A JSON file with GPUs: {@link GPUS} in the same form. */
import { z } from "zod"
import type { Gpu } from "./gpus.ts"

const positive = z.number().positive().max(1e18)

const gpuSchema = z.strictObject({
  usableGiB: positive,
  memoryBandwidth: positive,
  bf16: positive,
  nvlink: positive,
  nvlinkDomain: z.int().min(1).max(1_000_000),
  fabric: positive
})

export const gpuFileSchema: z.ZodType<Readonly<Record<string, Gpu>>> = z.record(z.string().max(100), gpuSchema)
