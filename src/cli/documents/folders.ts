/** What `relabel`, `reshard`, `merge-iterations`, `prune` and `uploads` print with `--json`. */
import { z } from "zod"
import type { RelabelReport } from "../../api/checkpoints.ts"
import type { ReshardReport } from "../../api/reshard.ts"
import type { AverageReport, PrunedIteration, PruneReport } from "../../api/trainingFolder.ts"
import type { RememberedRun, UnfinishedUpload, UploadsReport } from "../../api/uploads.ts"
import { bytes, count, type FieldsOf, form, layoutRows, notes, optional, text, texts } from "./fields.ts"

export const relabelFields = {
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
} satisfies FieldsOf<RelabelReport>

export const reshardFields = {
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
} satisfies FieldsOf<ReshardReport>

export const averageFields = {
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
} satisfies FieldsOf<AverageReport>

export const pruneFields = {
  directory: text,
  iterations: z.array(z.strictObject({
    name: text, step: count, bytes, fate: z.enum(["kept", "removed", "slimmed"]), because: optional(text), freed: bytes
  } satisfies FieldsOf<PrunedIteration>)),
  freed: bytes,
  done: z.boolean().describe("With --yes"),
  notes
} satisfies FieldsOf<PruneReport>

export const uploadsFields = {
  place: optional(text.describe("Below which was looked; absent: the runs that this machine remembers")),
  uploads: z.array(z.strictObject({
    object: text, since: optional(text.describe("ISO 8601")), parts: count, bytes, remembered: z.boolean().describe("--resume on this machine goes on with it")
  } satisfies FieldsOf<UnfinishedUpload>)),
  runs: z.array(z.strictObject({ target: text, uploadedBytes: bytes, running: z.boolean().describe("Its process runs now") } satisfies FieldsOf<RememberedRun>)),
  aborted: z.boolean().describe("They are gone now")
} satisfies FieldsOf<UploadsReport>
