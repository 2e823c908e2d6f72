/** A Megatron `torch_dist` checkpoint as a {@link UnroutedSpace}: `.metadata`, the run configuration, the common state. */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import { join } from "node:path"
import { argumentsOf } from "../arguments/TrainingArguments.ts"
import { RUN_CONFIG } from "../checkpoint/names.ts"
import { readOwn } from "../checkpoint/ownFile.ts"
import { atPath } from "../document/decode.ts"
import { InvalidFile, IoError } from "../errors.ts"
import { oneLine } from "../quote.ts"
import { reading } from "../io/attempt.ts"
import type { Store } from "../store/Store.ts"
import { isNotThere } from "../store/existing.ts"
import { readCommonState } from "../checkpoint/CommonState.ts"
import { factsOf } from "./describeValue.ts"
import { LARGEST_RUN_CONFIG, parseRunConfig, type RunConfigMap } from "../runconfig/RunConfigFile.ts"
import { openCheckpoint, withKept } from "./Checkpoint.ts"
import type { UnroutedSpace } from "./OpenedSpace.ts"
import { itemsTensor, type SpaceTensor } from "./TensorSpace.ts"

/** The run configuration of a checkpoint folder, if there is one. Errors: InvalidFile, IoError. */
export const readRunConfig = async (store: Store, directory: string): Promise<RunConfigMap | undefined> => {
  let bytes: Uint8Array
  try {
    bytes = await readOwn(store, directory, RUN_CONFIG, LARGEST_RUN_CONFIG)
  } catch (error) {
    if (isNotThere(error)) return undefined
    throw error
  }
  return atPath(join(directory, RUN_CONFIG), () => parseRunConfig(bytes))
}

/** What can be had of a side file; what is wrong with it becomes a note, because the tensors are there all the same. */
const orNote = async <A>(notes: Array<string>, read: () => Promise<A | undefined>): Promise<A | undefined> => {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof InvalidFile || error instanceof IoError)) throw error
    notes.push(oneLine(error.message))
    return undefined
  }
}

/** Open a parent directory or an `iter_*` folder. Errors: those of `openCheckpoint`. */
export const megatronSpace = Effect.fnUntraced(function*(path: string) {
  const store = yield* storeInUse
  const checkpoint = yield* openCheckpoint(path)
  return yield* reading(async (): Promise<UnroutedSpace> => {
    const { directory, metadata, trainingState } = checkpoint
    const all = new Map<string, SpaceTensor>(withKept(checkpoint).tensors)
    for (const key of trainingState) {
      const stored = metadata.tensors.get(key)
      if (stored) all.set(key, itemsTensor(directory, key, stored))
    }
    const notes = [...checkpoint.notes]
    const runConfig = await orNote(notes, () => readRunConfig(store, directory))
    const common = await orNote(notes, async () => (await readCommonState(store, directory, metadata))?.value)
    const args = argumentsOf(common)
    const states = checkpoint.objects()
    return {
      kind: "megatron",
      path,
      directory,
      tensors: all,
      objects: [
        ...[...states].map(([key, object]) => ({ key, ...object })),
        ...[...metadata.objects].filter(([key]) => !states.has(key) && trainingState.includes(key)).map(([key, object]) => ({ key, ...object }))
      ],
      files: [...checkpoint.fileSizes].map(([name, bytes]) => ({ name, bytes })),
      notes,
      form: checkpoint.form,
      checkpoint,
      ...(runConfig ? { runConfig } : {}),
      ...(args ? { arguments: args } : {}),
      ...(common === undefined ? {} : { common: factsOf(common) })
    }
  })
})
