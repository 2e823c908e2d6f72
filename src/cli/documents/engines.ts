/** What `forward`, `serve`, `publish`, `pull` and `push` print with `--json`. */
import { z } from "zod"
import type { ForwardReport, NextToken } from "../../api/forward.ts"
import type { ServeReport } from "../../api/serve.ts"
import { type EngineSumsReport, engineKinds, type PullReport, pushPhases, type PushReport, type ReplicaReport, type VersionReport } from "../../api/rollout.ts"
import { bytes, count, type FieldsOf, notes, optional, real, size, text, texts } from "./fields.ts"

const nextToken = {
  id: count,
  logit: real,
  probability: real,
  text: optional(text.describe("What it is as text, where there is a tokenizer"))
} satisfies FieldsOf<NextToken>

export const forwardFields = {
  path: text,
  kind: z.enum(["hf", "megatron"]),
  architecture: text,
  family: text,
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
} satisfies FieldsOf<ForwardReport>

export const serveFields = {
  url: text.describe("Where it listened"),
  tensors: count,
  bytes: bytes.describe("Of all tensors"),
  complete: count.describe("Consumers that got everything they asked for"),
  broken: count.describe("Connections that ended before"),
  denied: count.describe("Connections without the token"),
  bytesRead: bytes,
  bytesSent: bytes
} satisfies FieldsOf<ServeReport>

export const versionFields = {
  version: size,
  kind: z.enum(["full", "delta"]),
  directory: text,
  source: text.describe("What it is made from"),
  base: optional(count.describe("The version that a delta is applied to; 0: the model that engines were started with")),
  encoding: optional(z.enum(["xor", "overwrite"])),
  tensors: count,
  frozenTensors: optional(count.describe("With --freeze: tensors that were taken as they were, and not read")),
  modelBytes: bytes.describe("Of the whole model"),
  changedTensors: optional(count),
  bytes: optional(bytes.describe("Of the version's own files; absent with --dry-run")),
  linkedBytes: optional(bytes.describe("Of them, files that are links to those of an earlier version")),
  state: optional(text.describe("XXH3-128 of the whole model")),
  removed: z.array(size).describe("Versions that are gone"),
  notes
} satisfies FieldsOf<VersionReport>

export const pulledFields = {
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
} satisfies FieldsOf<PullReport>

const replica = {
  engine: text,
  kind: z.enum(engineKinds),
  reached: optional(z.enum(pushPhases).describe("The last phase that it went through")),
  version: optional(text.describe("What it says that it has")),
  holds: z.enum(["old", "new", "unknown"]).describe("What is known of its weights"),
  paused: z.boolean(),
  problem: optional(text)
} satisfies FieldsOf<ReplicaReport>

export const pushedFields = {
  version: count,
  complete: z.boolean(),
  failed: optional(z.enum(pushPhases)),
  replicas: z.array(z.strictObject(replica)),
  pausedMs: optional(count.describe("From the first pause to the last resume")),
  recovery: texts.describe("What to do now"),
  notes
} satisfies FieldsOf<PushReport>

export const engineSumsFields = {
  engines: z.array(z.strictObject({ engine: text, kind: z.enum(engineKinds), version: optional(text), tensors: count })),
  different: z.array(z.strictObject({ name: text, engines: texts.describe("Whose is another than the first engine's, or than the baseline's") })),
  sameVersion: z.boolean(),
  baseline: optional(z.strictObject({ path: text, written: z.boolean() })),
  equal: z.boolean()
} satisfies FieldsOf<EngineSumsReport>
