/** What `flops`, `memory`, `layout` and `setup` print with `--json`. */
import { z } from "zod"
import type { SampleCheck, SetupReport } from "../../api/setup.ts"
import type { Broken, LayoutReport, LayoutScore } from "../../api/training/layouts.ts"
import type { FlopsReport } from "../../api/training/flops.ts"
import type { MemoryReport } from "../../api/training/memory.ts"
import { bytes, count, type FieldsOf, form, layoutRows, notes, optional, size, text, texts } from "./fields.ts"

const operations = z.number().min(0).describe("Floating-point operations, multiplication and addition counted apart")

const seconds = z.number().min(0).describe("Estimated seconds")

const share = z.number().describe("1: all of it")

const recompute = z.enum(["none", "selective", "full"])

export const flopsFields = {
  architecture: text,
  family: text,
  form,
  seqLength: size,
  visualTokens: count,
  parameters: count,
  forward: operations,
  backward: operations,
  perToken: operations,
  components: z.array(z.strictObject({ component: text, forward: operations, backward: operations })),
  rows: z.array(z.strictObject({
    component: text,
    part: text as unknown as z.ZodType<FlopsReport["rows"][number]["part"]>,
    role: z.enum(["trained", "frozen in the gradient's path", "frozen before everything that trains"]),
    forward: operations,
    backward: operations
  })),
  trainer: optional(z.strictObject({
    rows: z.array(z.strictObject({
      part: text as unknown as z.ZodType<NonNullable<FlopsReport["trainer"]>["rows"][number]["part"]>, counted: operations, logged: operations, reason: optional(text)
    })),
    counted: operations,
    logged: operations,
    frozen: operations
  }).describe("With --reference: both counts as if everything trained")),
  notes
} satisfies FieldsOf<FlopsReport>

const stageBytes = z.number().min(0).describe("Bytes of one rank")

const stageMemory = z.strictObject({
  component: text, stage: count, firstRank: count, ranks: size,
  parameters: z.number().min(0).describe("Of one rank"), trained: z.number().min(0),
  weights: stageBytes, gradients: stageBytes, optimizer: stageBytes, activations: stageBytes, microBatchesInFlight: count, logits: stageBytes, communication: stageBytes, total: stageBytes
} satisfies FieldsOf<MemoryReport["stages"][number]>)

const printed = z.strictObject({ states: z.number(), activations: z.number() })

export const memoryFields = {
  architecture: text,
  family: text,
  form,
  gpu: text,
  usable: z.number().describe("Bytes that a process can allocate"),
  reserve: z.number().describe("Bytes of them that stay free"),
  layout: layoutRows,
  microBatch: size,
  microBatches: size,
  recompute,
  sequenceParallel: z.boolean(),
  parameters: count,
  stages: z.array(stageMemory),
  fits: z.boolean(),
  trainers: optional(z.strictObject({ megatronLm: printed, bridge: printed }).describe("With --reference: bytes that the trainers print")),
  notes
} satisfies FieldsOf<MemoryReport>

const broken = { rule: size, problem: text, trainer: text.describe("The trainer's own words"), hint: optional(text) } satisfies FieldsOf<Broken>

const score = z.strictObject({
  form,
  layout: layoutRows,
  spelled: text,
  flags: texts.describe("Of an import"),
  microBatch: size,
  microBatches: size,
  recompute,
  sequenceParallel: z.boolean(),
  stepSeconds: seconds,
  bubble: share,
  tokensPerSecond: z.number(),
  gpuSecondsPerToken: z.number().describe("The score: allocated GPU-seconds"),
  ranks: size,
  allocated: size,
  idle: count,
  idleBecause: text,
  ranksByNode: z.array(size),
  stages: z.array(z.strictObject({ component: text, stage: count, compute: seconds, tensorParallel: seconds, expertParallel: seconds, transfer: seconds, total: seconds })),
  gradientSeconds: seconds,
  optimizerSeconds: seconds,
  utilisation: z.array(z.strictObject({ component: text, mfu: share, busy: share })),
  memory: z.array(stageMemory),
  memoryShare: share,
  timeline: z.array(z.strictObject({ stage: count, kind: z.enum(["forward", "backward"]), microBatch: count, start: seconds, end: seconds }))
} satisfies FieldsOf<LayoutScore>)

export const layoutFields = {
  architecture: text,
  family: text,
  gpu: text,
  nodes: size,
  gpusPerNode: size,
  exclusive: z.boolean(),
  globalBatch: size,
  seqLength: size,
  usable: z.number(),
  best: z.array(score).describe("Best first"),
  standard: optional(score.describe("The best of one model under one layout")),
  given: optional(z.strictObject({ broken: z.array(z.strictObject(broken)), score: optional(score) })),
  refused: z.array(z.strictObject({ rule: size, trainer: text, layouts: size, example: text, problem: text })),
  searched: count,
  changes: z.array(z.strictObject({ change: text, cost: optional(z.number().describe("More GPU-seconds per token, as a share")), broken: optional(z.strictObject(broken)) })),
  notes
} satisfies FieldsOf<LayoutReport>

const sampleCheck = z.strictObject({
  samples: count, images: count, mostVisualTokens: z.number(), leastImages: count, mostImages: count,
  findings: z.array(z.strictObject({ severity: z.enum(["error", "warning", "note"]), text, lines: z.array(size) }))
} satisfies FieldsOf<SampleCheck>)

export const setupFields = {
  directory: text,
  architecture: text,
  form,
  mode: z.enum(["sft", "lora"]),
  layout: text,
  flags: texts,
  ranksByNode: z.array(size),
  files: z.array(z.strictObject({ name: text, bytes })),
  commands: z.array(z.strictObject({ what: text, command: text.describe("For a shell") })),
  instead: z.array(z.strictObject({ rule: size, trainer: text, problem: text, instead: text })).describe("What was asked for and is done otherwise"),
  samples: optional(sampleCheck),
  unproven: texts.describe("What only GPUs can prove"),
  notes
} satisfies FieldsOf<SetupReport>
