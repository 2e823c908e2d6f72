/**
 * A conformance case (`megatron-golden-case/1`): a toy Hugging Face checkpoint that can be regenerated without any binary,
 * and what the reference system (Megatron-Bridge) wrote when it imported that checkpoint and exported it back.
 *
 * Unknown keys are ignored. Cases whose reference import failed have no `megatron` and no `export`. The long texts that
 * serve reading only (logs, `run_config`) may have been left out.
 */
import { z } from "zod"
import { FormatError } from "../errors.ts"
import { isDType, type DType } from "../tensor/DType.ts"
import { configText } from "./configText.ts"
import { canBeGenerated, WEIGHT_SCHEME } from "./WeightGenerator.ts"

const count = z.int().nonnegative()
const shape = z.array(count)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const dtype = z.string().refine((name) => isDType(name) && canBeGenerated(name), "no dtype of the weight scheme")
  .transform((name) => name as DType)
/** A plain file name: it will be joined to a directory. */
const fileName = z.string().regex(/^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/)
const table = <T extends z.ZodType>(value: T) =>
  z.record(z.string(), value).transform((object) => new Map(Object.entries(object) as Array<[string, z.output<T>]>))
const files = z.array(z.tuple([z.string(), count]))

const tensor = z.tuple([z.string(), dtype, shape, fileName]).transform(([name, dtype, shape, file]) => ({
  name,
  dtype,
  shape,
  /** The shard that holds it; inside a shard the data are contiguous in list order. */
  file
}))

const weights = z.object({ scheme: z.literal(WEIGHT_SCHEME), fp32Islands: z.boolean() })

const hf = z.object({
  config: z.record(z.string(), z.unknown()),
  totalBytes: count,
  sha256OfAllTensorBytesInOrder: sha256,
  /** In file order. */
  tensors: z.array(tensor)
})

/** `language=tp=2,pp=1,…` values and ranks of a heterogeneous (`mimo`) run. */
const layout = { worldSize: count.optional(), components: z.array(z.string()).optional() }

const imported = z.object({
  ok: z.boolean(),
  /** The dtype that the importer was asked for, torch's name. */
  torchDtype: z.string(),
  mode: z.enum(["autobridge", "mimo"]),
  ...layout,
  /** Entries with a value that no source tensor holds: computed, not copied. */
  entriesOutsideSourceValueSet: z.array(z.string()).default([]),
  /** Entries the reference left at random initial values: not to be reproduced. */
  uninitialised: z.array(z.string()).default([])
})

const entry = z.object({
  /** torch's name without prefix. */
  dtype: z.string(),
  /** Of the global tensor, stacked layer and expert axes included. */
  shape,
  /** Of the global tensor in C order, little-endian; absent if uninitialised. */
  sha256: sha256.optional(),
  /** `[offsets, sizes]` in metadata order: how the reference's ranks cut the tensor. */
  chunks: z.array(z.tuple([shape, shape])),
  outsideSourceValueSet: z.boolean().default(false),
  uninitialised: z.boolean().default(false)
})

const megatron = z.object({
  /** `decoder.layers.X` with a leading layer axis, `decoder.layers.N.X`, or both. */
  layerKeys: z.enum(["stacked", "indexed", "mixed"]),
  /** `[path below the checkpoint root, bytes]`. */
  files,
  metadata_json: z.string(),
  run_config: z.string().optional(),
  /** Tensors, in metadata order. */
  entries: table(entry),
  /** Byte entries (`…/shard_i_n`) with equal payload. */
  bytes: z.array(z.object({ sha256, length: count, keys: z.array(z.string()) }))
})

const difference = z.object({
  name: z.string(),
  sourceDtype: z.string(),
  dtype: z.string(),
  shape,
  sha256,
  /** Whether the exported tensor is the source rounded to the other dtype, and whether casting it back restores the source. */
  equalsCastOfSource: z.boolean().optional(),
  castBackEqual: z.boolean().optional(),
  elementsDiffering: count.optional(),
  elements: count.optional(),
  maxAbsDiff: z.number().optional()
})

const exported = z.discriminatedUnion("ok", [
  z.object({
    ok: z.literal(true),
    ...layout,
    /** Of `of` source tensors, this many came back bit-identical. */
    equal: count,
    of: count,
    different: z.array(difference),
    missing: z.array(z.string()),
    extra: z.array(z.string()),
    /** From the source's `config.json` to the exported one. */
    configDiff: z.array(z.tuple([z.string(), z.enum(["removed", "added", "changed"])], z.unknown())),
    sameShardFile: count,
    files
  }),
  z.object({ ok: z.literal(false), ...layout })
])

const schema = z.object({
  schema: z.literal("megatron-golden-case/1"),
  case: z.string(),
  family: z.string(),
  variant: z.string(),
  architecture: z.string(),
  notes: z.array(z.string()),
  weights,
  hf,
  import: imported,
  megatron: megatron.optional(),
  export: exported.optional()
})

export type ConformanceCase = z.output<typeof schema> & {
  readonly hf: {
    /** `config.json` as transformers writes it: two spaces, the key order and the spelling of numbers of the source. */
    readonly configText: string
  }
}
export type SourceTensor = ConformanceCase["hf"]["tensors"][number]
export type CheckpointEntry = z.output<typeof entry>

/**
 * Parses a case file: our own documents, hence a plain `JSON.parse`.
 *
 * @throws FormatError `conformance/json`, or `conformance/case` with the first field that is not as the schema says.
 */
export const readCase = (bytes: Uint8Array): ConformanceCase => {
  const text = new TextDecoder().decode(bytes)
  const result = schema.safeParse(parse(text))
  if (!result.success) {
    const issue = result.error.issues[0]!
    throw new FormatError("conformance/case", issue.message, { field: issue.path.join(".") })
  }
  return { ...result.data, hf: { ...result.data.hf, configText: configText(text) } }
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new FormatError("conformance/json", (error as Error).message)
  }
}
