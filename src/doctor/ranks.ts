/** Folders of ranks (the `torch` format): do they make one model, and do ranks agree on what they have in common? */
import { Effect } from "effect"
import { argumentsOf } from "../arguments/TrainingArguments.ts"
import { openCheckpoint } from "../space/Checkpoint.ts"
import { requireEqualReplicas } from "../checkpoint/legacy/replicas.ts"
import { shellRelabel } from "../checkpoint/shell.ts"
import type { InvalidFile, Unsupported } from "../errors.ts"
import { examineArguments } from "./argumentsCheck.ts"
import { type Diagnosis, diagnosis } from "./Diagnosis.ts"

const refused = ({ code, hint, summary }: InvalidFile | Unsupported): ReadonlyArray<Diagnosis> =>
  [diagnosis("error", code.slice(code.indexOf("/") + 1), summary, hint === undefined ? {} : { fix: hint })]

/** Reads what several ranks hold. */
export const examineRanks = (path: string) =>
  Effect.gen(function*() {
    const checkpoint = yield* openCheckpoint(path)
    yield* requireEqualReplicas(checkpoint)
    const args = argumentsOf(checkpoint.metadata.run?.value)
    return [
      ...(args ? examineArguments(args, [...checkpoint.tensors.values()]) : []),
      ...checkpoint.notes.map((note) => diagnosis("note", "note", note)),
      diagnosis("note", "legacy", checkpoint.ranks?.bare === true ? "state dicts of single modules, which a trainer's script loads at the tensor parallelism that they were cut for; export reads them as they are" : "Megatron-LM loads this format into the layout that it was saved with, and Megatron-Bridge not at all; export reads it as it is", {
        fix: "Relabel it to torch_dist, which loads into any layout.",
        command: shellRelabel(checkpoint.directory, "torch-dist")
      })
    ]
  }).pipe(Effect.catchTags({ InvalidFile: (error) => Effect.succeed(refused(error)), Unsupported: (error) => Effect.succeed(refused(error)) }))
