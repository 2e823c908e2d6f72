/** What `quantization_config` of a config.json says that tensors' headers do not. Models of several parts may have it in a section. */
import { z } from "zod"
import { FormatError } from "../errors.ts"

export const DEFAULT_BLOCK: BlockSize = [128, 128]

export interface QuantizationConfig {
  /** Of scales per block; 128×128 if the config does not say. */
  readonly blockSize: BlockSize
  /** Every quantised module has scales of its activations, too. */
  readonly staticActivations: boolean
}

/** Rows and columns that share a scale. */
export type BlockSize = readonly [rows: number, columns: number]

const size = z.int().positive()
const schema = z.object({ weight_block_size: z.tuple([size, size]).nullish(), activation_scheme: z.unknown().optional() })

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value)

const QUANTIZATION = "quantization_config"

/** Paths of every `quantization_config`: at the top, or in a section (`text_config`). */
export const quantizationPaths = (config: unknown): ReadonlyArray<ReadonlyArray<string>> => {
  if (!isObject(config)) return []
  const sections = Object.entries(config).filter(([name, value]) => name.endsWith("_config") && name !== QUANTIZATION && isObject(value))
  return [
    ...(isObject(config[QUANTIZATION]) ? [[QUANTIZATION]] : []),
    ...sections.flatMap(([name, value]) => (isObject((value as Record<string, unknown>)[QUANTIZATION]) ? [[name, QUANTIZATION]] : []))
  ]
}

/** FormatError `quantized/config` if it is no object, or a block size is none. */
export const quantizationConfig = (config: unknown): QuantizationConfig => {
  const own = isObject(config) ? config[QUANTIZATION] ?? undefined : undefined
  if (own !== undefined && !isObject(own)) throw new FormatError("quantized/config", "is not an object", { field: QUANTIZATION })
  let blockSize: BlockSize | undefined
  let staticActivations = false
  for (const path of quantizationPaths(config)) {
    const found = schema.safeParse(path.reduce<unknown>((node, key) => (node as Record<string, unknown>)[key], config))
    if (!found.success) {
      throw new FormatError("quantized/config", "is not two positive integers", { field: [...path, "weight_block_size"].join(".") })
    }
    blockSize ??= found.data.weight_block_size ?? undefined
    staticActivations ||= found.data.activation_scheme === "static"
  }
  return { blockSize: blockSize ?? DEFAULT_BLOCK, staticActivations }
}
