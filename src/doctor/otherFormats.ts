/** Formats that a trainer writes beside `torch_dist`: do folders of ranks make one model and agree on what they have in common, can plain DCP be read? */
import { Effect } from "effect"
import { argumentsOf } from "../arguments/TrainingArguments.ts"
import { type Checkpoint, openCheckpoint } from "../space/Checkpoint.ts"
import { requireEqualReplicas } from "../checkpoint/legacy/replicas.ts"
import { shellRelabel } from "../checkpoint/shell.ts"
import type { InvalidFile, Unsupported } from "../errors.ts"
import { recogniseMegatronKeys } from "../recognise/megatronKeys.ts"
import { examineArguments } from "./argumentsCheck.ts"
import { recognised } from "./contents.ts"
import { type Diagnosis, diagnosis } from "./Diagnosis.ts"

const refused = ({ code, hint, summary }: InvalidFile | Unsupported): ReadonlyArray<Diagnosis> =>
  [diagnosis("error", code.slice(code.indexOf("/") + 1), summary, hint === undefined ? {} : { fix: hint })]

const IS_LOADED = "Megatron-LM loads this format into the layout that it was saved with, and Megatron-Bridge not at all; export reads it as it is"

const ofFormat = ({ directory, plainDcp, ranks }: Checkpoint): Diagnosis =>
  plainDcp
    ? diagnosis("note", "plain-dcp", "only a trainer that is set up for this format loads it; export, inspect, diff and verify read its weights", {
      fix: "For another trainer or layout: export it, and import what that writes."
    })
    : diagnosis("note", "legacy", ranks?.bare === true ? "state dicts of single modules, which a trainer's script loads at the tensor parallelism that they were cut for; export reads them as they are" : IS_LOADED, {
      fix: "Relabel it to torch_dist, which loads into any layout.",
      command: shellRelabel(directory, "torch-dist")
    })

/** Opens it; reads what several ranks hold. */
export const examineOtherFormat = (path: string) =>
  Effect.gen(function*() {
    const checkpoint = yield* openCheckpoint(path)
    if (checkpoint.ranks) yield* requireEqualReplicas(checkpoint)
    const args = argumentsOf(checkpoint.metadata.run?.value)
    const keys = recogniseMegatronKeys([...checkpoint.tensors.keys()])
    return [
      ...(args ? examineArguments(args, [...checkpoint.tensors.values()]) : []),
      ...(keys ? [recognised(keys)] : []),
      ...checkpoint.notes.map((note) => diagnosis("note", "note", note)),
      ofFormat(checkpoint)
    ]
  }).pipe(Effect.catchTags({ InvalidFile: (error) => Effect.succeed(refused(error)), Unsupported: (error) => Effect.succeed(refused(error)) }))
