/**
 * A `torch` checkpoint (`mp_rank_*` folders, Megatron-LM's legacy format): the files of all ranks read, and their pieces joined to
 * the tensors of the model. Only headers are read.
 */
import { basename, join } from "node:path"
import type { TrainingArguments } from "../../arguments/TrainingArguments.ts"
import { atPath } from "../../document/decode.ts"
import { InvalidFile, Unsupported } from "../../errors.ts"
import type { Store } from "../../store/Store.ts"
import type { StoredTensor } from "../../torch/DcpMetadata.ts"
import { parseSaved } from "../../torch/parseSaved.ts"
import { pyRead } from "../../torch/PyValue.ts"
import { iterationOf } from "../names.ts"
import { ownFile } from "../ownFile.ts"
import { type AssembledModel, assemble, type Replica } from "./assemble.ts"
import { atRank, type RankPieces, type PiecesOfRanks, piecesOf, type Rank } from "./pieces.ts"
import { type FlatStates, type OptimizerOfRanks, optimizerOfRanks } from "./optimizer.ts"
import { NotRead } from "./optimizerStates.ts"
import { openRank, placedValue, type RankArchive, type RankState, readSavedIn } from "./RankArchive.ts"
import { isModuleFolder, isRankFolder, isRankStateFolder, numbersOf, type RankSizes, ranksOf, rankStateFolder, WEIGHTS_FILE } from "./rankFolders.ts"
import { isTied, keepsLayerNumbers, rankSizes, repeatsGroups, saidSizes } from "./runArguments.ts"
import { storedForm, storedStates } from "./storedForm.ts"

/** What a `torch` checkpoint is made of. */
export interface RankArchives {
  /** Folders of single modules, each with ranks of its own, as scripts load them: no checkpoint of one run. */
  readonly bare: boolean
  readonly ranks: ReadonlyArray<Rank>
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** Module states by the keys that they have in `torch_dist`. */
  readonly states: ReadonlyMap<string, RankState>
  /** What the optimizer of the run holds, by keys of `torch_dist`. */
  readonly optimizer: OptimizerOfRanks | undefined
  /** Files of the ranks. */
  readonly files: ReadonlyArray<RankSource>
  /** Pieces that must be equal. */
  readonly replicas: ReadonlyArray<Replica>
  readonly notes: ReadonlyArray<string>
}

/** Newest first: before 2024 the optimizer had a file of its own, and the model's was called otherwise. */
const MODEL_FILES = ["model_optim_rng.pt", "model_rng.pt"]
const filesIn = (folder: string): ReadonlyArray<string> => (isRankStateFolder(folder) ? [WEIGHTS_FILE] : MODEL_FILES)
const CONCURRENT_FILES = 8
const MOST_RANKS = 100_000
const EMBEDDING = "embedding.word_embeddings.weight"
const HEAD = "output_layer.weight"

/** A file of a rank: relative to the folder of the iteration, and its bytes. */
export type RankSource = Pick<RankArchive, "file" | "size">

/** The flat states of a distributed optimizer, beside the model of every rank. */
const DISTRIBUTED = "distrib_optim.pt"

function* flatStates(length: number) {
  const saved = yield* parseSaved(length)
  return { value: yield* placedValue(saved, saved.inPickle(() => pyRead(saved.value))) }
}

interface OpenedRank {
  readonly archive: RankArchive
  readonly flat: FlatStates | undefined
  /** It has files of an optimizer that divides whole parameters among data-parallel ranks. */
  readonly layerWise: boolean
}

const LAYER_WISE = /^layer_wise_optimizer_\d+\.pt$/

const openAll = async (store: Store, directory: string, within: string, folders: ReadonlyArray<string>): Promise<ReadonlyMap<string, OpenedRank>> => {
  const archives = new Map<string, OpenedRank>()
  const queue = folders.values()
  const work = async (): Promise<void> => {
    for (const folder of queue) {
      const place = join(within, folder)
      const names = await store.list(join(directory, place))
      const name = filesIn(folder).find((file) => names.includes(file))
      if (name === undefined) throw new InvalidFile({ path: join(directory, place), code: "checkpoint/rank-missing", problem: `holds no ${filesIn(folder)[0]}: the save was interrupted or the copy is incomplete` })
      const archive = await openRank(store, directory, place, name)
      archives.set(folder, { archive, flat: names.includes(DISTRIBUTED) ? await readSavedIn(store, directory, join(place, DISTRIBUTED), flatStates) : undefined, layerWise: names.some((file) => LAYER_WISE.test(file)) })
    }
  }
  await Promise.all(Array.from({ length: CONCURRENT_FILES }, work))
  return archives
}

/** Without arguments: one number more is the expert-parallel rank where every folder has an embedding, else the stage. */
const sizesByFolders = (archives: ReadonlyMap<string, OpenedRank>): RankSizes => {
  const numbers = [...archives.keys()].map(numbersOf)
  const most = (at: number): number => numbers.reduce((size, list) => Math.max(size, (list[at] ?? 0) + 1), 1)
  const tp = most(0)
  const hasEmbedding = ({ archive: { models } }: OpenedRank): boolean => models.some(({ tensors }) => tensors.keys().some((key) => key.endsWith("word_embeddings.weight")))
  if (numbers.some((list) => list.length > 2)) return { tp, etp: tp, pp: most(1), ep: most(2) }
  const isExperts = archives.size > 1 && archives.values().every(hasEmbedding)
  return { tp, etp: tp, pp: isExperts ? 1 : most(1), ep: isExperts ? most(1) : 1 }
}

/** Ranks of one iteration and of one layout. */
const requireOneSave = (directory: string, ranks: ReadonlyArray<Rank>, sizes: RankSizes): void => {
  const [first] = ranks as [Rank]
  const named = iterationOf(basename(directory))
  const usual = named ?? first.archive.iteration
  const by = named === undefined ? first.folder.name : basename(directory)
  for (const rank of ranks) {
    const { args, iteration, path, version } = rank.archive
    if (iteration !== undefined && usual !== undefined && iteration !== usual && basename(directory) !== "release") {
      throw new InvalidFile({ path, code: "checkpoint/rank-iteration", problem: `is of iteration ${iteration}, ${by} is of ${usual}: ranks of two saves are mixed` })
    }
    const own = args && rankSizes(args)
    if (own && (own.tp !== sizes.tp || own.pp !== sizes.pp || own.ep !== sizes.ep || own.etp !== sizes.etp)) {
      throw new InvalidFile({ path, code: "checkpoint/rank-layout", problem: `was saved with tp=${own.tp}, pp=${own.pp}, ep=${own.ep}, ${first.folder.name} with tp=${sizes.tp}, pp=${sizes.pp}, ep=${sizes.ep}: ranks of two saves are mixed` })
    }
    if (version !== undefined && version < 2) {
      throw new Unsupported({ code: "unsupported/legacy", what: path, problem: `has checkpoint_version ${version}: before version 2 the rows of QKV projections are in another order`, hint: "Load it with a Megatron-LM of its time and save it again." })
    }
  }
}

/** The tied head of a last stage is the embedding once more. */
const withoutTiedHead = ({ tensors }: PiecesOfRanks, args: TrainingArguments | undefined): ReadonlyArray<RankPieces> => {
  const head = tensors.find(({ key }) => key === HEAD)
  const embedding = tensors.find(({ key }) => key === EMBEDDING)
  const tied = head && embedding && (head.pieces[0]!.name.startsWith("word_embeddings_for_head.") || (args !== undefined && isTied(args)))
  if (!tied) return tensors
  return tensors.filter((group) => group !== head).map((group) => (group === embedding ? { ...group, pieces: [...group.pieces, ...head.pieces] } : group))
}

const requireSaidSizes = (args: TrainingArguments, first: Rank, { layers }: PiecesOfRanks, { tensors }: AssembledModel): void => {
  const said = saidSizes(args)
  const found = layers.get("decoder.layers")
  if (said.layers !== undefined && found !== undefined && found !== said.layers) {
    throw atRank("checkpoint/rank-layers", first, undefined, `says that the model has ${said.layers} layers; all stages together hold ${found}`)
  }
  const embedding = tensors.find(({ key }) => key === EMBEDDING)
  if (!embedding) return
  const [rows, columns] = embedding.shape
  if (said.paddedVocabulary !== undefined && rows !== said.paddedVocabulary) throw atRank("checkpoint/rank-shapes", first, EMBEDDING, `says that the padded vocabulary has ${said.paddedVocabulary} rows; the slices of all ranks add up to ${rows}`)
  if (said.hidden !== undefined && columns !== said.hidden) throw atRank("checkpoint/rank-shapes", first, EMBEDDING, `says that the model is ${said.hidden} wide; its embedding has ${columns} columns`)
}

/**
 * Open the folders of all ranks in `directory`, or in the folders of modules in it; its `names` are given.
 *
 * @throws InvalidFile (`checkpoint/rank-…`, `zip/…`, `pickle/…`, `torch/…`), Unsupported, IoError.
 */
export const openRanks = async (store: Store, directory: string, names: ReadonlyArray<string>): Promise<RankArchives> => {
  if (names.some(isRankFolder)) return openRanksIn(store, directory, "", names)
  const modules: Array<RankArchives> = []
  for (const name of names.filter(isModuleFolder)) modules.push(below(name, await openRanksIn(store, directory, name, await store.list(await ownFile(store, directory, name)))))
  return {
    bare: true,
    ranks: modules.flatMap(({ ranks }) => ranks),
    tensors: new Map(modules.flatMap(({ tensors }) => [...tensors])),
    states: new Map(modules.flatMap(({ states }) => [...states])),
    optimizer: undefined,
    files: modules.flatMap(({ files }) => files),
    replicas: modules.flatMap(({ replicas }) => replicas),
    notes: modules.flatMap(({ notes }) => notes)
  }
}

/** The ranks of a module as those of the model that it is part of. */
const below = (module: string, archives: RankArchives): RankArchives => ({
  ...archives,
  tensors: new Map(Iterator.from(archives.tensors).map(([key, tensor]) => [`${module}.${key}`, tensor])),
  states: new Map(Iterator.from(archives.states).map(([key, state]) => [`${module}.${key}`, state])),
  notes: archives.notes.map((note) => `${module}: ${note}`)
})

const openRanksIn = async (store: Store, root: string, within: string, names: ReadonlyArray<string>): Promise<RankArchives> => {
  const directory = join(root, within)
  const folders = names.filter(isRankFolder)
  const bare = folders.some(isRankStateFolder)
  if (folders.length === 0) throw new InvalidFile({ path: directory, code: "checkpoint/rank-missing", problem: `holds no ${rankStateFolder(0)}: the copy is incomplete` })
  if (bare && !folders.every(isRankStateFolder)) throw new InvalidFile({ path: directory, code: "checkpoint/rank-unexpected", problem: "holds folders of ranks of two kinds, tp_rank_* and mp_rank_*", hint: "Which of them is meant, only you know: put one kind elsewhere." })
  if (folders.length > MOST_RANKS) throw new InvalidFile({ path: directory, code: "checkpoint/rank-unexpected", problem: `holds ${folders.length} folders of ranks; no more than ${MOST_RANKS} are read` })
  const archives = await openAll(store, root, within, folders)
  const described = archives.values().find(({ archive }) => archive.args !== undefined)?.archive
  return atPath(described?.path ?? directory, () => joinedRanks(directory, folders, archives, described?.args, bare))
}

const joinedRanks = (directory: string, folders: ReadonlyArray<string>, archives: ReadonlyMap<string, OpenedRank>, args: TrainingArguments | undefined, bare: boolean): RankArchives => {
  const sizes = args ? rankSizes(args) : sizesByFolders(archives)
  const said = args ? `by the arguments of the run` : `by the names of the folders`
  const ranks = ranksOf(directory, folders, sizes, said).map((folder): Rank => ({ folder, archive: archives.get(folder.name)!.archive }))
  requireOneSave(directory, ranks, sizes)
  const [first] = ranks as [Rank]
  if (args && repeatsGroups(args, sizes)) {
    throw new Unsupported({ code: "unsupported/legacy", what: directory, problem: `has fewer key/value groups than its ${sizes.tp} tensor-parallel ranks, which hold copies of them`, hint: "Load it with the trainer and save it with --ckpt-format torch_dist." })
  }
  const pieces = piecesOf(ranks, sizes.pp)
  const model = assemble(withoutTiedHead(pieces, args), sizes, bare)
  if (args) requireSaidSizes(args, first, pieces, model)
  const form = storedForm(directory, model.tensors, pieces.layers, args !== undefined && keepsLayerNumbers(args))
  const flat = ranks.map(({ folder }) => archives.get(folder.name)!.flat)
  const inForm = (own: ReadonlyArray<Rank>): ReadonlyMap<string, StoredTensor> => {
    const shadow = piecesOf(own, sizes.pp)
    return storedForm(directory, assemble(withoutTiedHead(shadow, args), sizes).tensors, shadow.layers, args !== undefined && keepsLayerNumbers(args)).tensors
  }
  const optimizer = optimizerOfRanks(ranks, flat, inForm)
  const states = storedStates(pieces.states, form, pieces.layers)
  const filled = states.values().reduce((count, state) => count + (state === "filled" ? 1 : 0), 0)
  const notes = [
    `${bare ? "state dicts" : "a torch checkpoint"} of ${ranks.length} rank${ranks.length === 1 ? "" : "s"} (${ranks.length === 1 ? first.folder.name : `${first.folder.name} … ${ranks.at(-1)!.folder.name}`}); ${bare ? "their" : "its"} pieces are read as one model`,
    ...(filled > 0 ? [`${filled} module states hold what only the ranks that saved them can use (FP8 scaling); they are read as empty`] : []),
    ...(archives.values().some(({ layerWise }) => layerWise) ? ["the layer-wise optimizer's files (layer_wise_optimizer_*.pt) are left behind: each data-parallel rank has states of whole parameters in its own"] : []),
    ...(optimizer instanceof NotRead ? [`the optimizer's state is left behind: ${optimizer.why}`] : [])
  ]
  const files = ranks.flatMap(({ archive }, r) => [archive, ...(flat[r] ? [flat[r]] : [])])
  return { bare, ranks, tensors: form.tensors, states, optimizer: optimizer instanceof NotRead ? undefined : optimizer, files, replicas: model.replicas, notes }
}
