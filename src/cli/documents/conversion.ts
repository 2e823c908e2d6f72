/** What `import`, `export` and `plan` print with `--json`. */
import { z } from "zod"
import type { ConversionReport } from "../../api/conversions.ts"
import { processGroupKinds } from "../../api/shares.ts"
import { bytes, count, dtype, type FieldsOf, form, notes, optional, size, sizes, text, texts } from "./fields.ts"

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

export const conversionFields = {
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
  frozen: optional(z.strictObject({
    asked: texts.describe("Parts by name, or patterns of parameters"),
    parameters: count.describe("Of the model"),
    tensors: count.describe("Stored tensors of which nothing trains"),
    bytes,
    fields: texts.describe("Fields of the model in run_config.yaml that say so"),
    byHook: texts.describe("What has no such field: a hook of the training script freezes it")
  }).describe("What does not train, where something is frozen")),
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
} satisfies FieldsOf<ConversionReport>
