/**
 * Folders of ranks (the `torch` format) written as `torch_dist`: each rank's pieces become the items of one data file, under the keys
 * that its trainer would have given them. Everything is written anew, from a plan, at constant memory.
 */
import { Effect } from "effect"
import { basename, dirname } from "node:path"
import type { Checkpoint } from "../space/Checkpoint.ts"
import { folderFiles, trackerFiles } from "../checkpoint/folder.ts"
import type { RankArchives } from "../checkpoint/legacy/openRanks.ts"
import { firstUnprovedMaster } from "../checkpoint/legacy/optimizer.ts"
import { requireEqualReplicas } from "../checkpoint/legacy/replicas.ts"
import { COMMON_STATE, iterationFolder, iterationOf } from "../checkpoint/names.ts"
import { rankFileName } from "../checkpoint/Placement.ts"
import { readChunks } from "../checkpoint/StoredArrays.ts"
import { StorageSums } from "../checkpoint/StorageSums.ts"
import { produce } from "../convert/produce.ts"
import { dataFileStates } from "../convert/sourceStates.ts"
import { sizeOf } from "../convert/unchanged.ts"
import { converting, uninterruptibly } from "../io/attempt.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { commit } from "../publish/commit.ts"
import { known, sourceFile } from "../publish/journal/Fingerprint.ts"
import { dictOf, type PlainValue, withEntries } from "../torch/ArchiveEdit.ts"
import { encodePickle } from "../torch/encodePickle.ts"
import { PickleDict, PickleList } from "../torch/PickleValue.ts"
import { archiveOfPickle } from "../torch/SaveArchive.ts"
import { trainStateFile, untrained } from "../torch/TrainState.ts"
import { type Draft, type DraftObject, draftOf } from "./Draft.ts"
import { movedChunks, planRelabel } from "./RelabelPlan.ts"
import type { PreparedRelabel, RelabelOptions, RelabelReport } from "./PreparedRelabel.ts"
import { type RelabelTo, rules } from "./rules/index.ts"
import { noEquivalent, type RuleContext } from "./rules/Rule.ts"

/** The namings that are about more than keys: none of them can be part of a change of format. */
const ONLY_KEYS: ReadonlySet<RelabelTo> = new Set<RelabelTo>(["torch-dist", "indexed", "stacked", "sequential", "grouped", "te-spec", "local-spec", "extra-states", "mtp-transformer-layer", "mtp-model-layer"])

const requireFormat = (to: ReadonlyArray<RelabelTo>): void => {
  if (!to.includes("torch-dist")) noEquivalent(to.join(", "), "folders of ranks have no keys to rename", "--to torch-dist writes them in that format; further --to rename its keys.")
  const other = to.find((target) => !ONLY_KEYS.has(target))
  if (other !== undefined) noEquivalent(other, "is not done together with a change of format", "Write the checkpoint with --to torch-dist first, then relabel that.")
}

/** What loaders take from the common state: what the first rank says of the run, and how keys are to be asked for. */
const commonState = ({ optimizer, ranks }: RankArchives, step: number, content: Draft["content"]): PickleDict => {
  const type = optimizer?.shardingType
  const flags = new Map<string, PlainValue>([...(type === undefined ? [] : [["distrib_optim_sharding_type", type] as const]), ["singleton_local_shards", false], ["chained_optim_avoid_prefix", true]])
  for (const [field, value] of content) if (value !== null) flags.set(field, value)
  return withEntries(ranks[0]!.archive.common, new Map<string, PlainValue>([["iteration", step], ...(optimizer?.common instanceof PickleDict ? [["optimizer", optimizer.common] as const] : []), ["content_metadata", dictOf(flags)]]))
}

const listOf = (value: PickleDict): PickleList => {
  const list = new PickleList()
  list.push(value)
  return list
}

const draftOfRanks = (checkpoint: Checkpoint, { states }: RankArchives): Draft => {
  const objects = new Map<string, DraftObject>(Array.from(states, ([key, state]) => [key, state === "none" ? "none" : "empty"]))
  return { ...draftOf(checkpoint.metadata), objects }
}

/** Without an optimizer whose masters are not those of the weights: it would be of another model. */
const proved = Effect.fnUntraced(function*(checkpoint: Checkpoint, ranks: RankArchives) {
  const wrong = ranks.optimizer && (yield* firstUnprovedMaster(ranks.optimizer))
  if (!wrong) return { checkpoint, ranks }
  const note = `the optimizer's state is left behind: its master of ${wrong.name} (${wrong.rank.folder.name}) is not the weights' when it is rounded`
  return { checkpoint: { ...checkpoint, metadata: { ...checkpoint.metadata, tensors: ranks.tensors }, notes: [...checkpoint.notes, note] }, ranks: { ...ranks, optimizer: undefined } }
})

/** Plan it. Reads headers, and what several ranks hold. */
export const prepareFromRanks = Effect.fnUntraced(function*(opened: Checkpoint, own: RankArchives, options: RelabelOptions, context: RuleContext) {
  const store = yield* storeInUse
  const { directory } = opened
  yield* converting(() => requireFormat(options.to))
  const states = yield* converting(() => dataFileStates(store, opened))
  yield* requireEqualReplicas(opened)
  const { checkpoint, ranks } = yield* proved(opened, own)
  const before = draftOfRanks(checkpoint, ranks)
  const draft = yield* converting(() => options.to.reduce((d, to) => rules[to](d, context), before))
  const step = iterationOf(basename(directory)) ?? ranks.ranks[0]!.archive.iteration ?? 0
  const folder = basename(directory) === "release" ? "release" : iterationFolder(step)
  const common = commonState(ranks, step, draft.content)
  const item = archiveOfPickle("archive", encodePickle(listOf(common)))
  const moved = yield* converting(() => movedChunks(draft, directory))
  const stored = yield* converting(() => readChunks(store, moved.chunks))
  const rankOf = new Map(ranks.ranks.map(({ archive: { file } }, rank) => [dirname(file), rankFileName({ rank, number: 0 })]))
  const plan = yield* converting(() =>
    planRelabel({ ...draft, objects: new Map([...draft.objects, [COMMON_STATE, item]]) }, moved, stored, { files: checkpoint.fileSizes, pathOf: (file) => file, nameOf: (file) => rankOf.get(dirname(file))! }, new Map()))
  const trainState = trainStateFile(untrained(step))
  const small = folderFiles({ metadata: plan.metadata, common: archiveOfPickle("common", encodePickle(common)), trainState })
  const report: RelabelReport = {
    source: directory,
    to: options.to,
    tensors: plan.metadata.tensors.size,
    renamed: 0,
    supplied: plan.supplied,
    kept: [],
    written: plan.written,
    movedBytes: plan.moved,
    dataBytes: sizeOf([...checkpoint.fileSizes.values()].map((size) => ({ size }))),
    linked: 0,
    cloned: 0,
    writtenBytes: sizeOf(plan.files),
    notes: [...checkpoint.notes, ...draft.notes, "random number states belong to the ranks of the run and stay behind; load without them (--no-load-rng)"]
  }
  const run: PreparedRelabel["run"] = (target, runOptions) =>
    produce(target, runOptions, {
      files: plan.files,
      states,
      sums: new StorageSums(stored.storages()),
      folder,
      iteration: folder,
      ingredients: [
        known("the namings", JSON.stringify(options.to)),
        ...small.map(([name, content]) => known(`the new ${name}`, content)),
        ...states.map((state) => sourceFile(state.path.slice(directory.length + 1), state))
      ],
      sources: [directory],
      report: () => report,
      checksum: true
    }, Effect.fnUntraced(function*(publication) {
      yield* uninterruptibly(async () => { for (const [name, content] of small) await publication.recorder.write(name, content) })
      yield* commit(publication, { trackers: trackerFiles(folder, trainState) })
    }))
  return { report, forecast: () => Effect.succeed({ bytes: report.writtenBytes, notes: [] }), run } satisfies PreparedRelabel
})
