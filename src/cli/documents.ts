/**
 * What `--json` prints, as schemas: one per command, and the error that all share. Generated into docs/schemas by `npm run docs`; a
 * test reads what every command really prints with them. Nothing of the command line itself needs this file.
 */
import { z } from "zod"
import type { AdapterFacts, AdapterModule, Diagnosis, DiffReport, DoctorReport, Inspection, RelabelReport, Statistics, TensorDiff, TensorRow } from "../api/checkpoints.ts"
import type { ReshardReport } from "../api/reshard.ts"
import type { AverageReport, PrunedIteration, PruneReport } from "../api/trainingFolder.ts"
import type { AdapterReport, AdapterSummary, MergeReport } from "../api/adapters.ts"
import type { ForwardReport, NextToken } from "../api/forward.ts"
import type { ConversionReport } from "../api/conversions.ts"
import { loadRoutes } from "../api/requests.ts"
import type { Support } from "../api/models.ts"
import type { Scaffold } from "../api/scaffolding.ts"
import { processGroupKinds } from "../api/shares.ts"
import type { ServeReport } from "../api/serve.ts"
import { engineKinds, type PullReport, pushPhases, type PushReport, type ReplicaReport, type VersionReport } from "../api/rollout.ts"
import type { SampleCheck, SetupReport } from "../api/setup.ts"
import type { Broken, LayoutReport, LayoutScore } from "../api/training/layouts.ts"
import type { FlopsReport } from "../api/training/flops.ts"
import type { MemoryReport } from "../api/training/memory.ts"
import type { RoundtripReport, RoundtripTensor } from "../api/roundtrip.ts"
import type { DeepReport, VerifyReport } from "../api/verification.ts"
import type { RememberedRun, UnfinishedUpload, UploadsReport } from "../api/uploads.ts"
import type { BridgeError } from "../errors.ts"
import { type CommandName, SCHEMA } from "./envelope.ts"

/** Every field of `T`, none besides. */
type Fields<T> = { readonly [K in keyof T]-?: z.ZodType<T[K]> }

const text = z.string()
const texts = z.array(z.string())
const count = z.int().min(0)
const bytes = count.describe("Bytes")
const size = z.int().min(1)
/** JSON has no word for infinite and NaN. */
const real = z.number().nullable().describe("null: infinite, or not a number") as unknown as z.ZodType<number>
const shape = z.array(count).describe("Of the whole tensor")
const dtype = z.string().describe("As safetensors names it: BF16, F32, F8_E4M3 …") as unknown as z.ZodType<TensorRow["dtype"]>
const form = z.enum(["mimo", "standard"])
const notes = texts.describe("What else there is to know, for people")
const optional = <T extends z.ZodType>(type: T) => z.exactOptional(type)

const pipeline = z.strictObject({
  firstStageLayers: optional(size),
  lastStageLayers: optional(size),
  embeddingAsStage: optional(z.boolean()),
  lossAsStage: optional(z.boolean()),
  virtualStages: optional(z.int()),
  layout: optional(text)
})
const sizes = { tp: size, pp: size, dp: size, cp: size, ep: size, etp: size, pipeline: optional(pipeline) }
const component = z.strictObject({
  name: text,
  tensors: count.describe("Stored tensors (keys)"),
  bytes,
  layout: optional(z.strictObject({ ...sizes, ranks: text.describe("0-3, or 4") }).describe("That an import cuts for"))
})

const ioWay = {
  way: z.enum(["direct", "buffered"]).describe("Past the page cache, or through it"),
  inFlight: size.describe("Blocks beside each other")
}

const groups = z.partialRecord(z.enum(processGroupKinds), z.array(z.tuple([count, size, size]).readonly()))

const conversion = {
  direction: z.enum(["import", "export"]),
  form,
  architecture: text,
  family: text,
  source: text,
  components: z.array(component),
  sourceTensors: count,
  sourceBytes: bytes,
  targetTensors: count,
  targetBytes: bytes,
  files: z.array(z.strictObject({ name: text, bytes })).describe("Files with tensors"),
  dtypeChanges: z.array(z.strictObject({
    tensor: text,
    from: dtype,
    to: dtype,
    storedAs: optional(texts.describe("Keys of an import that hold the values")),
    changedElements: optional(count.describe("Elements whose value a cast back would not restore; known after the run"))
  })),
  leftBehind: z.array(z.strictObject({ tensor: text, bytes, reason: text })),
  carried: texts.describe("Hugging Face tensors whose own bytes travel beside the model"),
  carriedBecause: z.array(z.strictObject({ why: text, tensors: texts })).describe("The same, by the reason why they are no part of the Megatron model"),
  vocabulary: optional(z.union([z.strictObject({ from: size, to: size, divisibleBy: size, tp: size }), z.strictObject({ from: size, to: size })])),
  quantized: optional(z.strictObject({ forms: z.array(z.strictObject({ form: text, tensors: count })), dequantized: texts, restored: texts })),
  pinned: optional(z.array(z.strictObject({ file: text, by: text.describe("SHA-256 that the Hub lists, or size and tag (ETag)") })).describe("Files that are read from elsewhere by ranges: what every range is held to")),
  io: optional(z.array(z.strictObject({
    side: z.enum(["source", "target"]),
    fileSystem: text.describe("Its type and place"),
    ...ioWay,
    known: z.boolean().describe("An earlier run had measured it too"),
    seen: z.array(z.strictObject({ ...ioWay, bytes: bytes.describe("Moved that way in this run"), bytesPerSecond: count.describe("While any were under way; remembered where none were") }))
  })).describe("How large files were read and written, where there was something to find out; known after the run")),
  processes: optional(z.strictObject({
    each: z.array(z.strictObject({
      rank: count,
      components: texts.describe("The component of the rank that it stands for, or those whose ranks' files it writes; none in an export"),
      groups: optional(groups.describe("Where each process stands for a rank of the layout: its process groups, ranks as runs [first, count, stride]")),
      files: texts.describe("Also those in which it has a part"),
      bytes
    })),
    memoryOfEach: bytes.describe("Memory that a process takes at most"),
    memoryInAll: bytes.describe("Of all processes")
  }).describe("Who writes what, where it was asked for several processes")),
  notes
} satisfies Fields<ConversionReport>

const verdict = {
  name: text,
  status: z.enum(["equal", "different", "missing", "extra"]),
  detail: optional(text),
  elements: optional(count),
  differing: optional(count),
  maxAbsDiff: optional(real),
  firstDifference: optional(z.strictObject({ element: count, assembled: text, stored: text }))
} satisfies Fields<VerifyReport["tensors"][number]>

const verify = {
  left: text,
  right: text,
  equal: count,
  total: count.describe("Tensors of both sides together"),
  bytes,
  tensors: z.array(z.strictObject(verdict)),
  notes
} satisfies Fields<VerifyReport>

const deep = {
  path: text,
  against: z.enum(["checksums", "items"]).describe("Checksums of the whole, or the CRC-32 that each stored tensor carries"),
  files: count,
  tensors: count,
  bytes,
  damages: z.array(z.strictObject({
    file: text,
    problem: z.enum(["missing", "size", "content", "unreadable"]),
    detail: text,
    begin: optional(count),
    end: optional(count),
    tensors: optional(texts),
    bit: optional(z.strictObject({ byte: count, bit: z.int().min(0).max(7) }))
  })),
  notes
} satisfies Fields<DeepReport>

const { architecture, components, family } = conversion
const roundtrip = {
  hfModel: text,
  architecture,
  family,
  form,
  components,
  equal: count,
  total: count,
  bytes,
  tensors: z.array(z.strictObject({ ...verdict, dtype: optional(dtype), shape: optional(shape) } satisfies Fields<RoundtripTensor>)),
  megatronPath: optional(text.describe("The checkpoint, if it was kept")),
  hfPath: optional(text.describe("The exported model, if it was kept")),
  notes
} satisfies Fields<RoundtripReport>

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
} satisfies Fields<AdapterSummary>

const adapter = {
  direction: z.enum(["export", "import"]),
  architecture,
  family,
  form,
  source: text,
  adapter: z.strictObject(adapterSummary),
  sourceTensors: count,
  targetTensors: count,
  files: conversion.files,
  notes
} satisfies Fields<AdapterReport>

const nextToken = {
  id: count,
  logit: real,
  probability: real,
  text: optional(text.describe("What it is as text, where there is a tokenizer"))
} satisfies Fields<NextToken>

const forward = {
  path: text,
  kind: z.enum(["hf", "megatron"]),
  architecture,
  family,
  layers: size,
  vocabulary: size,
  adapters: z.array(z.strictObject({ path: text, rank: size, alpha: real, dora: z.boolean() })).describe("Those that the base model was computed with"),
  bytes: bytes.describe("Bytes of parameters that were computed with"),
  compute: text.describe("Who multiplied matrices: simd, tfjs-node-gpu, tfjs-node, tfjs-wasm"),
  tokens: z.array(count),
  logProbabilities: z.array(real).describe("Natural logarithm of the probability of each token behind the first"),
  perplexity: optional(real.describe("exp of their negative mean; absent for a single token")),
  next: z.array(z.strictObject(nextToken)).describe("What may come behind the last token, likeliest first"),
  notes
} satisfies Fields<ForwardReport>

const merge = {
  architecture,
  family,
  base: text,
  adapters: z.array(z.strictObject({ path: text, rank: size, alpha: z.number(), dora: z.boolean(), weight: z.number(), tensors: count })),
  order: z.enum(["bridge", "peft", "precise"]),
  driver: text.describe("What computes"),
  changed: count,
  copied: count,
  files: conversion.files,
  unchanged: texts,
  notes
} satisfies Fields<MergeReport>

const sum = { tensors: count, elements: count, bytes }
const layoutRow = z.strictObject({ component: text, ...sizes, rankOffset: count })
const statistics = {
  elements: count,
  min: optional(z.number()),
  max: optional(z.number()),
  mean: optional(z.number()),
  std: optional(z.number()),
  zeros: count,
  nans: count,
  infinities: count,
  tiny: count.describe("Below 2^-24, but not zero"),
  huge: count.describe("Above 2^10")
} satisfies Fields<Statistics>
const tensorRow = {
  name: text,
  dtype,
  shape,
  bytes,
  role: z.enum(["model", "kept", "training"]),
  component: text,
  stack: optional(text),
  layer: optional(count),
  chunks: count,
  files: texts,
  boxes: optional(z.array(z.strictObject({ offsets: z.array(count), sizes: z.array(count), file: text, offset: count, length: count })).describe("With --chunks")),
  statistics: optional(z.strictObject(statistics).describe("With --stats")),
  suspicion: optional(text)
} satisfies Fields<TensorRow>
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
} satisfies Fields<AdapterModule>
const adapterFacts = {
  kind: z.enum(["peft", "megatron"]),
  form: z.enum(["lora", "canonical", "dora"]),
  rank: optional(z.number().describe("As the configuration says; absent where there is none")),
  alpha: optional(z.number()),
  dropout: optional(z.number()),
  rankStabilised: optional(z.literal(true)),
  base: optional(text),
  targetModules: texts,
  targetParameters: texts,
  parameters: count,
  modules: z.array(z.strictObject(adapterModule)),
  unpaired: texts.describe("Tensors of adapters without their other half"),
  problem: optional(text)
} satisfies Fields<AdapterFacts>
const inspection = {
  kind: z.enum(["safetensors", "megatron", "items", "archive"]),
  path: text,
  directory: text,
  form: optional(form),
  loadRoutes: optional(z.array(z.enum(loadRoutes))),
  model: z.strictObject({
    name: optional(text.describe("Provider class or architecture")),
    fields: z.array(z.tuple([text, text])),
    layers: optional(z.number()),
    vocabulary: optional(z.number()),
    labels: optional(z.number()),
    tied: optional(z.boolean()),
    dtype: optional(text),
    quantisation: optional(text),
    layout: z.array(layoutRow).describe("That a Megatron checkpoint was written for")
  } satisfies Fields<Inspection["model"]>),
  common: z.array(z.tuple([text, text])),
  totals: z.strictObject({ ...sum, chunks: count, objects: count, files: count, fileBytes: bytes }),
  components: z.array(z.strictObject({ name: text, ...sum, dtypes: z.array(dtype) })),
  dtypes: z.array(z.strictObject({ dtype, ...sum })),
  layers: z.array(z.strictObject({ stack: text, layer: count, ...sum })),
  files: z.array(z.strictObject({ name: text, bytes, rank: optional(count), chunks: count, objects: count, tensors: count, components: texts })),
  training: z.strictObject(sum),
  findings: z.array(z.strictObject({ code: text, text, names: texts })),
  adapter: optional(z.strictObject(adapterFacts)),
  notes,
  tensors: z.array(z.strictObject(tensorRow)).describe("One a line; none with --summary"),
  of: count.describe("Tensors before --filter")
} satisfies Fields<Inspection>

const side = optional(z.strictObject({ dtype, shape }))
const tensorDiff = {
  name: text,
  kind: z.enum(["missing", "extra", "shape", "dtype", "values"]).describe("missing: only left has it; extra: only right"),
  component: text,
  left: side,
  right: side,
  distance: optional(z.strictObject({ elements: count, differing: count, maxAbsDiff: optional(real), norm: optional(real), relative: optional(real) }))
} satisfies Fields<TensorDiff>
const diff = {
  left: text,
  right: text,
  total: count,
  equal: count,
  compared: z.boolean().describe("Values were compared, not headers only"),
  counts: z.strictObject({ missing: count, extra: count, shape: count, dtype: count, values: count }),
  tensors: z.array(z.strictObject(tensorDiff)),
  notes
} satisfies Fields<DiffReport>
const { tensors: _, ...diffCounts } = diff

const relabel = {
  source: text,
  to: texts as unknown as z.ZodType<RelabelReport["to"]>,
  tensors: count,
  renamed: count,
  supplied: count,
  kept: texts.describe("Data files linked or copied unchanged"),
  written: texts.describe("Data files written anew"),
  movedBytes: bytes,
  dataBytes: bytes,
  linked: count,
  cloned: count,
  writtenBytes: bytes,
  notes
} satisfies Fields<RelabelReport>

const layoutRows = z.array(z.strictObject({ component: text, ...sizes, ranks: text.describe("0-3, or 4") }))
const reshard = {
  source: text,
  form,
  folder: text,
  before: layoutRows.describe("As the checkpoint records it"),
  layout: layoutRows,
  tensors: count,
  optimizerTensors: count,
  optimizer: optional(z.strictObject({ from: text, to: text })),
  rng: z.enum(["kept", "dropped", "reseeded", "none"]),
  dropped: count.describe("Entries left behind or replaced"),
  recut: count.describe("Chunks cut anew"),
  files: z.array(z.strictObject({ name: text, bytes })),
  kept: texts.describe("Data files linked or copied unchanged"),
  linked: count,
  cloned: count,
  writtenBytes: bytes,
  notes
} satisfies Fields<ReshardReport>

const average = {
  source: text,
  folder: text,
  iterations: z.array(z.strictObject({ step: count, weight: z.number() })),
  averaged: count,
  taken: texts.describe("Tensors of the newest, because they hold no floating-point numbers"),
  files: z.array(z.strictObject({ name: text, bytes })),
  linked: count,
  cloned: count,
  writtenBytes: bytes,
  notes
} satisfies Fields<AverageReport>

const prune = {
  directory: text,
  iterations: z.array(z.strictObject({
    name: text, step: count, bytes, fate: z.enum(["kept", "removed", "slimmed"]), because: optional(text), freed: bytes
  } satisfies Fields<PrunedIteration>)),
  freed: bytes,
  done: z.boolean().describe("With --yes"),
  notes
} satisfies Fields<PruneReport>

const uploads = {
  place: optional(text.describe("Below which was looked; absent: the runs that this machine remembers")),
  uploads: z.array(z.strictObject({
    object: text, since: optional(text.describe("ISO 8601")), parts: count, bytes, remembered: z.boolean().describe("--resume on this machine goes on with it")
  } satisfies Fields<UnfinishedUpload>)),
  runs: z.array(z.strictObject({ target: text, uploadedBytes: bytes, running: z.boolean().describe("Its process runs now") } satisfies Fields<RememberedRun>)),
  aborted: z.boolean().describe("They are gone now")
} satisfies Fields<UploadsReport>

const diagnosis = {
  code: text,
  severity: z.enum(["error", "warning", "note", "ok"]),
  text,
  fix: optional(text),
  command: optional(text.describe("What mends it, for a shell")),
  names: optional(texts)
} satisfies Fields<Diagnosis>
const doctor = { path: text, found: z.array(z.strictObject(diagnosis)).describe("Worst first"), sound: z.boolean() } satisfies Fields<DoctorReport>

const support = {
  architecture: text,
  family: text,
  import: z.boolean(),
  export: z.boolean(),
  components: texts,
  providers: texts,
  trainable: z.boolean(),
  mtp: z.boolean(),
  quantized: texts,
  cases: count,
  mimoCases: count,
  refusedByReference: count,
  roundTrips: count,
  gpu: texts.describe("Checkpoints that a trainer saved on GPUs, with what it computed there"),
  transformers: z.enum(["logits", "bytes"]).nullable().describe("What transformers shows: the same logits after a round trip, the same bytes; null: it does not have the architecture"),
  forward: z.boolean().describe("The forward check computes what transformers computes")
} satisfies Fields<Support>

const scaffold = { architecture: text, text: text.describe("A TypeScript module"), file: optional(text) } satisfies Fields<Scaffold>

const operations = z.number().min(0).describe("Floating-point operations, multiplication and addition counted apart")
const seconds = z.number().min(0).describe("Estimated seconds")
const share = z.number().describe("1: all of it")
const recompute = z.enum(["none", "selective", "full"])
const flops = {
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
} satisfies Fields<FlopsReport>

const stageBytes = z.number().min(0).describe("Bytes of one rank")
const stageMemory = z.strictObject({
  component: text, stage: count, firstRank: count, ranks: size,
  parameters: z.number().min(0).describe("Of one rank"), trained: z.number().min(0),
  weights: stageBytes, gradients: stageBytes, optimizer: stageBytes, activations: stageBytes, microBatchesInFlight: count, logits: stageBytes, communication: stageBytes, total: stageBytes
} satisfies Fields<MemoryReport["stages"][number]>)
const printed = z.strictObject({ states: z.number(), activations: z.number() })
const memory = {
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
} satisfies Fields<MemoryReport>

const broken = { rule: size, problem: text, trainer: text.describe("The trainer's own words"), hint: optional(text) } satisfies Fields<Broken>
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
} satisfies Fields<LayoutScore>)
const layout = {
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
} satisfies Fields<LayoutReport>

const sampleCheck = z.strictObject({
  samples: count, images: count, mostVisualTokens: z.number(), leastImages: count, mostImages: count,
  findings: z.array(z.strictObject({ severity: z.enum(["error", "warning", "note"]), text, lines: z.array(size) }))
} satisfies Fields<SampleCheck>)
const setup = {
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
} satisfies Fields<SetupReport>

const serve = {
  url: text.describe("Where it listened"),
  tensors: count,
  bytes: bytes.describe("Of all tensors"),
  complete: count.describe("Consumers that got everything they asked for"),
  broken: count.describe("Connections that ended before"),
  denied: count.describe("Connections without the token"),
  bytesRead: bytes,
  bytesSent: bytes
} satisfies Fields<ServeReport>

const exitCode = z.union([z.literal(0), z.literal(1)]).describe("1: it found differences, or what a loader would stumble over, or no layout that stands; `ok` is true all the same, for the command did its work")

const document = <T extends z.ZodRawShape>(command: CommandName, title: string, fields: T) =>
  z.strictObject({ ok: z.literal(true), command: z.literal(command), schema: z.literal(SCHEMA), exitCode, ...fields }).meta({ title })

const target = text.describe("Where it is written")

const version = {
  version: size,
  kind: z.enum(["full", "delta"]),
  directory: text,
  source: text.describe("What it is made from"),
  base: optional(count.describe("The version that a delta is applied to; 0: the model that engines were started with")),
  encoding: optional(z.enum(["xor", "overwrite"])),
  tensors: count,
  modelBytes: bytes.describe("Of the whole model"),
  changedTensors: optional(count),
  bytes: optional(bytes.describe("Of the version's own files; absent with --dry-run")),
  linkedBytes: optional(bytes.describe("Of them, files that are links to those of an earlier version")),
  state: optional(text.describe("XXH3-128 of the whole model")),
  removed: z.array(size).describe("Versions that are gone"),
  notes
} satisfies Fields<VersionReport>

const pulled = {
  local: text,
  from: optional(count.describe("The version that was there")),
  version: count,
  state: optional(text.describe("XXH3-128 of the whole model")),
  seeded: optional(count.describe("The version that was copied as a whole; 0: the model that engines were started with")),
  applied: z.array(size).describe("Versions whose deltas were applied"),
  tensors: count.describe("Of all that was applied"),
  bytes: bytes.describe("Of the tensors that were changed"),
  found: count.describe("Tensors that an interrupted pull had changed already"),
  rebuilt: count.describe("Tensors that it had left half changed, made anew"),
  notes
} satisfies Fields<PullReport>

const replica = {
  engine: text,
  kind: z.enum(engineKinds),
  reached: optional(z.enum(pushPhases).describe("The last phase that it went through")),
  version: optional(text.describe("What it says that it has")),
  holds: z.enum(["old", "new", "unknown"]).describe("What is known of its weights"),
  paused: z.boolean(),
  problem: optional(text)
} satisfies Fields<ReplicaReport>

const pushed = {
  version: count,
  complete: z.boolean(),
  failed: optional(z.enum(pushPhases)),
  replicas: z.array(z.strictObject(replica)),
  pausedMs: optional(count.describe("From the first pause to the last resume")),
  recovery: texts.describe("What to do now"),
  notes
} satisfies Fields<PushReport>

/** One schema per command; those with two answers have a union. */
export const documents = {
  import: document("import", "import, and import --dry-run", { ...conversion, target }),
  export: document("export", "export, and export --dry-run", { ...conversion, target }),
  plan: document("plan", "plan", conversion),
  verify: z.union([document("verify", "verify A B", verify), document("verify", "verify --deep PATH", deep)]),
  roundtrip: z.union([document("roundtrip", "roundtrip", roundtrip), document("roundtrip", "roundtrip --dry-run", conversion)]),
  inspect: document("inspect", "inspect", inspection),
  diff: z.union([document("diff", "diff", diff), document("diff", "diff --summary", diffCounts)]),
  report: document("report", "report", { files: texts.describe("What was written") }),
  "merge-iterations": document("merge-iterations", "merge-iterations, and merge-iterations --dry-run", { ...average, target }),
  prune: document("prune", "prune, with or without --yes", prune),
  uploads: document("uploads", "uploads, with or without --abort", uploads),
  reshard: document("reshard", "reshard, and reshard --dry-run", { ...reshard, target }),
  relabel: document("relabel", "relabel, and relabel --dry-run", { ...relabel, target }),
  publish: document("publish", "publish, publish --dry-run, and each version of publish --watch", version),
  pull: document("pull", "pull", pulled),
  push: document("push", "push", pushed),
  doctor: document("doctor", "doctor", doctor),
  models: document("models", "models", { models: z.array(z.strictObject(support)) }),
  sample: document("sample", "sample", { directory: text, architecture: text, tensors: count, bytes }),
  scaffold: document("scaffold", "scaffold", scaffold),
  flops: document("flops", "flops", flops),
  memory: document("memory", "memory", memory),
  layout: document("layout", "layout", layout),
  setup: document("setup", "setup sft", setup),
  adapter: z.union([
    document("adapter", "adapter export and adapter import, and either with --dry-run", { ...adapter, target }),
    document("adapter", "adapter merge, and adapter merge --dry-run", { ...merge, target })
  ]),
  forward: document("forward", "forward", forward),
  serve: document("serve", "serve", serve)
} satisfies Record<CommandName, z.ZodType>

/** Every error there is, and the two that are none of the library's. */
const KINDS: Readonly<Record<BridgeError["_tag"] | "Interrupted" | "Internal", true>> = {
  InvalidFile: true, Unsupported: true, PlanRefused: true, UsageError: true, OutputRefused: true, NoSpace: true, IoError: true, LaunchError: true, ClusterError: true,
  PeerFailed: true, StreamRefused: true, StreamBroken: true, Interrupted: true, Internal: true
}

/** What every command prints instead when it fails. */
export const errorDocument = z.strictObject({
  ok: z.literal(false),
  command: optional(text.describe("The word that was typed")),
  schema: z.literal(SCHEMA),
  exitCode: z.int().min(2),
  error: z.strictObject({
    kind: z.enum(Object.keys(KINDS) as [keyof typeof KINDS, ...Array<keyof typeof KINDS>]),
    code: text.describe("Stable; docs/errors.md lists them"),
    message: text.describe("For people: what happened, and what to do"),
    exitCode: z.int().min(2),
    hint: optional(text),
    path: optional(text),
    tensor: optional(text),
    field: optional(text),
    record: optional(text),
    offset: optional(count),
    names: optional(texts),
    peer: optional(z.strictObject({ rank: count, host: text, code: text, exitCode: z.int(), file: optional(text), tensor: optional(text) })
      .describe("PeerFailed: the process that failed first, and with what")),
    signal: optional(z.enum(["SIGINT", "SIGTERM", "SIGHUP"]))
  })
}).meta({ title: "A failure of any command" })

const network = {
  bytes: bytes.describe("Received and sent since the phase began"),
  bytesPerSecond: count.describe("Of late; at the end, of the whole phase"),
  requests: count,
  retries: count.describe("Requests that were repeated"),
  waiting: z.boolean().describe("The server has asked to be left alone for a while")
}

/** A line on stderr with `--json-events`. */
export const eventLine = z.union([
  z.strictObject({ event: z.literal("start"), phase: text, total: bytes }),
  z.strictObject({ event: z.literal("progress"), phase: text, done: bytes, total: bytes, bytesPerSecond: count, network: optional(z.strictObject(network)) }),
  z.strictObject({ event: z.enum(["end", "failed"]), phase: text, done: bytes, total: bytes, seconds: z.number().min(0), network: optional(z.strictObject(network)) })
]).meta({ title: "A line of --json-events" })
