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
import type { HfWeights } from "../../space/HfWeights.ts"
import type { BaseModel } from "../BaseModel.ts"
import { type Changing, changing } from "./changes.ts"
import { requantising, type Requantising } from "./requantise.ts"
import { arraysOf, computing, type Merging, type MergeRequest, type MergeRun, openMerge, type PreparedMerge, requireWeights } from "./merging.ts"

/** A merge into the files of a directory. */
export interface DirectoryMergeRequest extends MergeRequest {
  /** Quantised tensors become codes and scales again. */
  readonly requantize: boolean
}

/** Adding to codes changes their scales, and with them values that no adapter changes: nobody wants it who does not say so. */
const refuseQuantised = (weights: HfWeights, { changes }: Merging): void => {
  const quantised = Iterator.from(changes.keys()).find((tensor) => weights.quantized.has(tensor))
  if (quantised === undefined) return
  throw new Unsupported({
    code: "unsupported/quantised",
    what: quantised,
    problem: "is quantised, and an adapter is added to values: what was read from codes would have to be rounded to codes again",
    hint: "--requantize does so. Without loss: merge to --megatron-path, which has values, and export that; or serve the adapter beside the quantised base."
  })
}

/** The files of the base in which something changes. */
const filesOf = ({ shards }: HfTensors, changes: Merging["changes"], array: (tensor: string) => TargetArray, { changed }: Changing, codes: Requantising) => {
  const [made, kept]: [Array<TargetFile>, Array<(typeof shards)[number]>] = [[], []]
  for (const shard of shards) {
    if (!shard.tensors.some(({ name }) => codes.has(name) || changes.has(name))) kept.push(shard)
    else {
      made.push({
        name: shard.file,
        size: shard.size,
        segments: [
          { kind: "bytes", bytes: shard.headerBytes },
          ...shard.tensors.map(({ name }) => ({ kind: "array" as const, array: codes.has(name) ? codes.changed(array(name)) : changed(array(name)), crc: false }))
        ]
      })
    }
  }
  return { made, kept }
}

const REQUANTISED = "of quantised tensors, blocks whose values change have scales of their own and codes rounded to the nearest: a value moves by up to 1/16 of it (more where it is small beside the largest of its block); blocks in which nothing changes stay as they are"

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
export const prepareMerge = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, request: DirectoryMergeRequest) {
  const disk = yield* Disk
  const store = yield* storeInUse
  const merging = yield* openMerge(families, hfModel, request)
  const { changes, decided } = merging
  const { safetensors, stored, weights } = yield* converting(() => {
    const weights = requireWeights(merging)
    if (!request.requantize) refuseQuantised(weights, merging)
    return { ...requireSafetensors(merging.base), weights }
  })
  const { copied: side } = yield* besideModel(safetensors)
  const how = yield* changing(changes, arraysOf(weights))
  const { codes, kept, made } = yield* converting(() => {
    const codes = requantising({ config: merging.base.config, stored, weights }, changes, how)
    return { codes, ...filesOf(safetensors, changes, arraysOf(stored), how, codes) }
  })
  const beside = [...kept, ...side].map(({ file, identity, path, size, stamp }) => ({ name: file, path, size, identity, stamp }))
  const report = merging.report({
    base: stored.directory,
    driver: how.driver,
    tensors: stored.tensors.size,
    files: made.map(({ name, size }) => ({ name, bytes: size })),
    unchanged: kept.map(({ file }) => file),
    requantised: codes.summary,
    notes: [...stored.warnings, ...(codes.summary.length > 0 ? [REQUANTISED] : [])]
  })
  const unchanged: UnchangedFiles = { directory: stored.directory, files: beside, others: sizeOf(made) }
  const states = [...shardStates(stored), ...side, ...decided.states]

  const run = Effect.fnUntraced(function*(target: string, { link, ...options }: MergeRun) {
    const small = yield* sideFiles(hfModel)
    const sources = yield* converting(() => smallSources(store, small))
    const expected = yield* forecastOf(disk, unchanged, target, link)
    if (codes.bytes > 0) options.onWait?.(`reading ${(codes.bytes / 1e9).toFixed(1)} GB of values: the scales of new codes follow from the largest of each block`)
    yield* codes.findScales
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
      ingredients: [known("--link", String(link)), known("--requantize", String(request.requantize)), ...shardIngredients(stored, "the base model"), ...decided.ingredients, ...sources],
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
