/** What `models` and `scaffold` print with `--json`. */
import { z } from "zod"
import type { Support } from "../../api/models.ts"
import type { Scaffold } from "../../api/scaffolding.ts"
import { count, type FieldsOf, optional, text, texts } from "./fields.ts"

export const supportFields = {
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
} satisfies FieldsOf<Support>

export const scaffoldFields = { architecture: text, text: text.describe("A TypeScript module"), file: optional(text) } satisfies FieldsOf<Scaffold>
