/**
 * What `--json` prints, as schemas: one per command, and the error that all share. Generated into docs/schemas by `npm run docs`; a
 * test reads what every command really prints with them. Nothing of the command line itself needs this file.
 */
import { z } from "zod"
import { type CommandName, SCHEMA } from "../envelope.ts"
import { bytes, count, text, texts } from "./fields.ts"
import { conversionFields } from "./conversion.ts"
import { deepFields, roundtripFields, verifyFields } from "./verification.ts"
import { adapterFields, mergeFields } from "./adapters.ts"
import { diffFields, diffCounts, doctorFields, inspectionFields } from "./inspection.ts"
import { averageFields, pruneFields, relabelFields, reshardFields, uploadsFields } from "./folders.ts"
import { flopsFields, layoutFields, memoryFields, setupFields } from "./training.ts"
import { engineSumsFields, forwardFields, pulledFields, pushedFields, serveFields, versionFields } from "./engines.ts"
import { scaffoldFields, supportFields } from "./models.ts"

const exitCode = z.union([z.literal(0), z.literal(1)]).describe("1: it found differences, or what a loader would stumble over, or no layout that stands; `ok` is true all the same, for the command did its work")

const document = <T extends z.ZodRawShape>(command: CommandName, title: string, fields: T) =>
  z.strictObject({ ok: z.literal(true), command: z.literal(command), schema: z.literal(SCHEMA), exitCode, ...fields }).meta({ title })

const target = text.describe("Where it is written")

/** One schema per command; those with two answers have a union. */
export const documents = {
  import: document("import", "import, and import --dry-run", { ...conversionFields, target }),
  export: document("export", "export, and export --dry-run", { ...conversionFields, target }),
  plan: document("plan", "plan", conversionFields),
  verify: z.union([document("verify", "verify A B", verifyFields), document("verify", "verify --deep PATH", deepFields), document("verify", "verify --engine URL", engineSumsFields)]),
  roundtrip: z.union([document("roundtrip", "roundtrip", roundtripFields), document("roundtrip", "roundtrip --dry-run", conversionFields)]),
  inspect: document("inspect", "inspect", inspectionFields),
  diff: z.union([document("diff", "diff", diffFields), document("diff", "diff --summary", diffCounts)]),
  report: document("report", "report", { files: texts.describe("What was written") }),
  "merge-iterations": document("merge-iterations", "merge-iterations, and merge-iterations --dry-run", { ...averageFields, target }),
  prune: document("prune", "prune, with or without --yes", pruneFields),
  uploads: document("uploads", "uploads, with or without --abort", uploadsFields),
  reshard: document("reshard", "reshard, and reshard --dry-run", { ...reshardFields, target }),
  relabel: document("relabel", "relabel, and relabel --dry-run", { ...relabelFields, target }),
  publish: document("publish", "publish, publish --dry-run, and each version of publish --watch", versionFields),
  pull: document("pull", "pull", pulledFields),
  push: document("push", "push", pushedFields),
  doctor: document("doctor", "doctor", doctorFields),
  models: document("models", "models", { models: z.array(z.strictObject(supportFields)) }),
  sample: document("sample", "sample", { directory: text, architecture: text, tensors: count, bytes }),
  scaffold: document("scaffold", "scaffold", scaffoldFields),
  flops: document("flops", "flops", flopsFields),
  memory: document("memory", "memory", memoryFields),
  layout: document("layout", "layout", layoutFields),
  setup: document("setup", "setup sft", setupFields),
  adapter: z.union([
    document("adapter", "adapter export and adapter import, and either with --dry-run", { ...adapterFields, target }),
    document("adapter", "adapter merge, and adapter merge --dry-run", { ...mergeFields, target })
  ]),
  forward: document("forward", "forward", forwardFields),
  serve: document("serve", "serve", serveFields)
} satisfies Record<CommandName, z.ZodType>
