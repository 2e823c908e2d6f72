/** What `verify` and `roundtrip` print with `--json`. */
import { z } from "zod"
import type { RoundtripReport, RoundtripTensor } from "../../api/roundtrip.ts"
import type { DeepReport, VerifyReport } from "../../api/verification.ts"
import { bytes, count, dtype, type FieldsOf, form, notes, optional, real, shape, text, texts } from "./fields.ts"
import { conversionFields } from "./conversion.ts"

const verdict = {
  name: text,
  status: z.enum(["equal", "different", "missing", "extra"]),
  detail: optional(text),
  elements: optional(count),
  differing: optional(count),
  maxAbsDiff: optional(real),
  firstDifference: optional(z.strictObject({ element: count, assembled: text, stored: text }))
} satisfies FieldsOf<VerifyReport["tensors"][number]>

export const verifyFields = {
  left: text,
  right: text,
  equal: count,
  total: count.describe("Tensors of both sides together"),
  bytes,
  tensors: z.array(z.strictObject(verdict)),
  notes
} satisfies FieldsOf<VerifyReport>

export const deepFields = {
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
} satisfies FieldsOf<DeepReport>

export const roundtripFields = {
  hfModel: text,
  architecture: text,
  family: text,
  form,
  components: conversionFields.components,
  equal: count,
  total: count,
  bytes,
  tensors: z.array(z.strictObject({ ...verdict, dtype: optional(dtype), shape: optional(shape) } satisfies FieldsOf<RoundtripTensor>)),
  megatronPath: optional(text.describe("The checkpoint, if it was kept")),
  hfPath: optional(text.describe("The exported model, if it was kept")),
  notes
} satisfies FieldsOf<RoundtripReport>
