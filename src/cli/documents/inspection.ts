/** What `inspect`, `diff` and `doctor` print with `--json`. */
import { z } from "zod"
import type { Diagnosis, DiffReport, DoctorReport, Inspection, Statistics, TensorDiff, TensorRow } from "../../api/checkpoints.ts"
import { loadRoutes } from "../../api/requests.ts"
import { bytes, count, dtype, type FieldsOf, form, notes, optional, real, shape, sizes, text, texts } from "./fields.ts"
import { adapterFacts } from "./adapters.ts"

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
} satisfies FieldsOf<Statistics>

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
} satisfies FieldsOf<TensorRow>

export const inspectionFields = {
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
  } satisfies FieldsOf<Inspection["model"]>),
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
} satisfies FieldsOf<Inspection>

const side = optional(z.strictObject({ dtype, shape }))

const tensorDiff = {
  name: text,
  kind: z.enum(["missing", "extra", "shape", "dtype", "values"]).describe("missing: only left has it; extra: only right"),
  component: text,
  left: side,
  right: side,
  distance: optional(z.strictObject({ elements: count, differing: count, maxAbsDiff: optional(real), norm: optional(real), relative: optional(real) }))
} satisfies FieldsOf<TensorDiff>

export const diffFields = {
  left: text,
  right: text,
  total: count,
  equal: count,
  compared: z.boolean().describe("Values were compared, not headers only"),
  counts: z.strictObject({ missing: count, extra: count, shape: count, dtype: count, values: count }),
  tensors: z.array(z.strictObject(tensorDiff)),
  notes
} satisfies FieldsOf<DiffReport>

export const { tensors: _, ...diffCounts } = diffFields

const diagnosis = {
  code: text,
  severity: z.enum(["error", "warning", "note", "ok"]),
  text,
  fix: optional(text),
  command: optional(text.describe("What mends it, for a shell")),
  names: optional(texts)
} satisfies FieldsOf<Diagnosis>

export const doctorFields = { path: text, found: z.array(z.strictObject(diagnosis)).describe("Worst first"), sound: z.boolean() } satisfies FieldsOf<DoctorReport>
