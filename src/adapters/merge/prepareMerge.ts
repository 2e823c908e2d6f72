/**
 * A merge as an Effect: a base model's directory with the changes of adapters added. Tensors that no adapter changes are copied; files in
 * which nothing changes are linked, or copied whole.
 */
import { Effect } from "effect"
import { basename } from "node:path"
import type { FamilyRegistry } from "../../bridge/FamilyRegistry.ts"
import { currentWorld } from "../../cluster/single.ts"
import { produce } from "../../convert/produce.ts"
import { copySmall, smallSources } from "../../convert/smallFiles.ts"
import { shardIngredients, shardStates } from "../../convert/sourceStates.ts"
import { forecastOf, placeUnchanged, sizeOf, type UnchangedFiles } from "../../convert/unchanged.ts"
import { type TargetArray, type TargetFile, wholeFile } from "../../engine/index.ts"
import { Unsupported } from "../../errors.ts"
import { converting, uninterruptibly } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import { commit } from "../../publish/commit.ts"
import type { Publication } from "../../publish/Publication.ts"
import { known } from "../../publish/journal/Fingerprint.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import type { HfTensors } from "../../safetensors/SafetensorsDirectory.ts"
import { besideModel } from "../../space/besideModel.ts"
import { sideFiles } from "../../space/HfSource.ts"
import type { BaseModel } from "../BaseModel.ts"
import { type Changing, changing } from "./changes.ts"
import { arraysOf, computing, type Merging, type MergeRequest, type MergeRun, openMerge, type PreparedMerge, requireWeights } from "./merging.ts"

/** Adding to codes would change their scales, and with them values that no adapter changes. */
const refuseQuantised = ({ base: { weights }, changes }: Merging): void => {
  const quantised = Iterator.from(changes.keys()).find((tensor) => weights!.quantized.has(tensor))
  if (quantised === undefined) return
  throw new Unsupported({
    code: "unsupported/quantised",
    what: quantised,
    problem: "is quantised, and an adapter is added to values: what was read from codes would have to be rounded to codes again",
    hint: "Import the base and export it without --restore-quantized, which writes values; then merge into that. Or serve the adapter beside the quantised base."
  })
}

/** The files of the base in which something changes. */
const filesOf = ({ shards }: HfTensors, changes: Merging["changes"], array: (tensor: string) => TargetArray, { changed }: Changing) => {
  const [made, kept]: [Array<TargetFile>, Array<(typeof shards)[number]>] = [[], []]
  for (const shard of shards) {
    if (!shard.tensors.some(({ name }) => changes.has(name))) kept.push(shard)
    else {
      made.push({
        name: shard.file,
        size: shard.size,
        segments: [
          { kind: "bytes", bytes: shard.headerBytes },
          ...shard.tensors.map(({ name }) => ({ kind: "array" as const, array: changed(array(name)), crc: false }))
        ]
      })
    }
  }
  return { made, kept }
}

/** The base's files, which stay what they are. */
const requireSafetensors = ({ config, stored }: BaseModel) => {
  if (stored?.safetensors) return { stored, safetensors: stored.safetensors }
  throw new Unsupported({
    code: "unsupported/adapter",
    what: config.directory,
    problem: "holds its weights as pickles; a merge keeps the files of the base as they are, and writes safetensors",
    hint: "Import the base and export it, which writes safetensors; then merge into that. Or merge to --megatron-path."
  })
}

/** Plan a merge into the weights of the directory `hfModel`. The adapters are read, and of the base headers only (with DoRA, what it changes). */
export const prepareMerge = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, request: MergeRequest) {
  const disk = yield* Disk
  const store = yield* storeInUse
  const merging = yield* openMerge(families, hfModel, request)
  const { changes, decided } = merging
  const { safetensors, stored } = yield* converting(() => {
    requireWeights(merging)
    refuseQuantised(merging)
    return requireSafetensors(merging.base)
  })
  const { copied: side } = yield* besideModel(safetensors)
  const array = arraysOf(stored)
  const how = yield* changing(changes, array)
  const { kept, made } = yield* converting(() => filesOf(safetensors, changes, array, how))
  const beside = [...kept, ...side].map(({ file, identity, path, size, stamp }) => ({ name: file, path, size, identity, stamp }))
  const report = merging.report({
    base: stored.directory,
    driver: how.driver,
    tensors: stored.tensors.size,
    files: made.map(({ name, size }) => ({ name, bytes: size })),
    unchanged: kept.map(({ file }) => file),
    notes: stored.warnings
  })
  const unchanged: UnchangedFiles = { directory: stored.directory, files: beside, others: sizeOf(made) }
  const states = [...shardStates(stored), ...side, ...decided.states]

  const run = Effect.fnUntraced(function*(target: string, { link, ...options }: MergeRun) {
    const small = yield* sideFiles(hfModel)
    const sources = yield* converting(() => smallSources(store, small))
    const expected = yield* forecastOf(disk, unchanged, target, link)
    const { size: processes } = yield* currentWorld
    return yield* produce(target, computing(options), {
      files: [...beside.map(wholeFile), ...made],
      states,
      // Several processes have agreed on the files that they write.
      ...(processes > 1 ? {} : {
        place: Effect.fnUntraced(function*(publication: Publication) {
          const { left } = yield* placeUnchanged(disk, publication, unchanged, { expected, link })
          return { files: [...left.map(wholeFile), ...made], states }
        })
      }),
      folder: "",
      ingredients: [known("--link", String(link)), ...shardIngredients(stored, "the base model"), ...decided.ingredients, ...sources],
      sources: [hfModel, ...decided.sources],
      size: expected.bytes,
      report: () => ({ ...report, notes: [...report.notes, ...expected.notes] }),
      checksum: options.checksum ?? false
    }, Effect.fnUntraced(function*(publication) {
      yield* uninterruptibly(async () => {
        await copySmall(store, small, publication.recorder)
        // The same tensors are in the same files.
        if (safetensors.indexFile !== undefined && safetensors.indexBytes) await publication.recorder.write(basename(safetensors.indexFile), safetensors.indexBytes)
      })
      yield* commit(publication, { small: sources })
    }))
  })
  return { report, run } satisfies PreparedMerge
})
