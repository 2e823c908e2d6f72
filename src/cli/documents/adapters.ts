/** What `adapter` prints with `--json`, and what is said of an adapter elsewhere. */
import { z } from "zod"
import type { AdapterFacts, AdapterModule } from "../../api/checkpoints.ts"
import type { AdapterReport, AdapterSummary, MergeReport } from "../../api/adapters.ts"
import { count, dtype, type FieldsOf, form, notes, optional, size, text, texts } from "./fields.ts"
import { conversionFields } from "./conversion.ts"

const adapterSummary = {
  form: z.enum(["lora", "canonical", "dora"]),
  rank: size,
  alpha: z.number(),
  dropout: z.number(),
  matrices: count.describe("Hugging Face matrices that have an adapter; packed experts count as one"),
  parameters: count,
  targetModules: texts,
  targetParameters: texts,
  ranks: z.array(z.strictObject({ module: text, rank: size })).describe("Other ranks than `rank`")
} satisfies FieldsOf<AdapterSummary>

export const adapterFields = {
  direction: z.enum(["export", "import"]),
  architecture: text,
  family: text,
  form,
  source: text,
  adapter: z.strictObject(adapterSummary),
  sourceTensors: count,
  targetTensors: count,
  files: conversionFields.files,
  notes
} satisfies FieldsOf<AdapterReport>

export const mergeFields = {
  architecture: text,
  family: text,
  base: text,
  adapters: z.array(z.strictObject({ path: text, rank: size, alpha: z.number(), dora: z.boolean(), weight: z.number(), tensors: count })),
  order: z.enum(["bridge", "peft", "precise"]),
  driver: text.describe("What computes"),
  changed: count,
  copied: count,
  files: conversionFields.files,
  unchanged: texts,
  requantised: z.array(z.strictObject({ form: text, tensors: count })).describe("Quantised tensors whose values were rounded to codes again"),
  notes
} satisfies FieldsOf<MergeReport>

const adapterModule = {
  module: text,
  slot: optional(text.describe("q, k, v, gate or up, where parts of a fused weight have an adapter each")),
  stack: optional(text),
  layer: optional(count),
  dtype,
  rank: count,
  inputs: count,
  outputs: count,
  experts: optional(count),
  scale: optional(z.number().describe("What B·A is multiplied by")),
  magnitude: z.boolean().describe("Row lengths of DoRA"),
  norm: optional(z.number().describe("Frobenius norm of scale·B·A, with --stats")),
  outputNorm: optional(z.number().describe("Of B, with --stats: 0 for an adapter that changes nothing"))
} satisfies FieldsOf<AdapterModule>

export const adapterFacts = {
  kind: z.enum(["peft", "megatron"]),
  form: z.enum(["lora", "canonical", "dora"]),
  rank: optional(z.number().describe("As the configuration says; absent where there is none")),
  alpha: optional(z.number()),
  dropout: optional(z.number()),
  rankStabilised: optional(z.literal(true)),
  base: optional(text),
  targetModules: texts,
  targetParameters: texts,
  sharedOuter: optional(z.literal(true).describe("A matrix that all experts of a layer share is stored once, as SGLang takes it")),
  parameters: count,
  modules: z.array(z.strictObject(adapterModule)),
  unpaired: texts.describe("Tensors of adapters without their other half"),
  problem: optional(text)
} satisfies FieldsOf<AdapterFacts>
