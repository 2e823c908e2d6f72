/**
 * The folders of a `torch` checkpoint, one for each model-parallel rank: `mp_rank_TT`, `_PPP` behind it where there is a pipeline,
 * `_EEE` behind that where experts are divided (training-checkpoints.md 4.1); and those of one module that a script loads, one for each
 * tensor-parallel rank: `tp_rank_TT` (adapters-and-assembly.md 2.1). Pure.
 */
import { InvalidFile } from "../../errors.ts"
import { submoduleOf } from "../../model/storedKey.ts"

export interface RankFolder {
  readonly name: string
  readonly tp: number
  readonly pp: number
  readonly ep: number
}

/** The sizes by which folders are named. `etp`: ranks among which each expert is divided. */
export interface RankSizes {
  readonly tp: number
  readonly pp: number
  readonly ep: number
  readonly etp: number
}

const FOLDER = /^mp_rank_(\d{2,6})(?:_(\d{3,6}))?(?:_(\d{3,6}))?$/
const STATE_FOLDER = /^tp_rank_(\d{2,6})$/

/** What a folder of one module's tensor-parallel rank holds. */
export const WEIGHTS_FILE = "model_weights.pt"

export const rankStateFolder = (rank: number): string => `tp_rank_${String(rank).padStart(2, "0")}`

export const isRankStateFolder = (name: string): boolean => STATE_FOLDER.test(name)

export const isRankFolder = (name: string): boolean => FOLDER.test(name) || isRankStateFolder(name)

/** A folder of such folders, by the name of the module that they are of. */
export const isModuleFolder = (name: string): boolean => submoduleOf(`${name}.`) === name

/** Does a directory with something of this name hold files of ranks? */
export const isOfRanks = (name: string): boolean => isRankFolder(name) || isModuleFolder(name)

/** The folder of a rank; `like`: the name of another one. */
export const rankFolder = ({ ep, pp, tp }: Omit<RankFolder, "name">, sizes: Pick<RankSizes, "pp" | "ep">, like: string): string =>
  isRankStateFolder(like) ? rankStateFolder(tp) : `mp_rank_${String(tp).padStart(2, "0")}${sizes.pp > 1 ? `_${String(pp).padStart(3, "0")}` : ""}${sizes.ep > 1 ? `_${String(ep).padStart(3, "0")}` : ""}`

/** Numbers in the name of a folder, as many as it has. */
export const numbersOf = (name: string): ReadonlyArray<number> => (FOLDER.exec(name) ?? STATE_FOLDER.exec(name) ?? []).slice(1).flatMap((text) => (text === undefined ? [] : [Number(text)]))

const refuse = (directory: string, code: "checkpoint/rank-missing" | "checkpoint/rank-unexpected" | "checkpoint/rank-layout", problem: string, hint?: string): never => {
  throw new InvalidFile({ path: directory, code, problem, ...(hint ? { hint } : {}) })
}

const written = ({ ep, etp, pp, tp }: RankSizes): string => `tp=${tp}, pp=${pp}, ep=${ep}${etp === tp ? "" : `, etp=${etp}`}`

/** Every tensor-parallel rank of a stage, and every piece of its experts: not all pairs of the two exist where tp and etp differ. */
const missingOf = (folders: ReadonlyArray<RankFolder>, { ep, etp, pp, tp }: RankSizes): Omit<RankFolder, "name"> | undefined => {
  const dense = new Set(folders.map((f) => `${f.pp}/${f.tp}`))
  const expert = new Set(folders.map((f) => `${f.pp}/${f.ep}/${f.tp % etp}`))
  for (let stage = 0; stage < pp; stage++) {
    for (let rank = 0; rank < tp; rank++) if (!dense.has(`${stage}/${rank}`)) return { pp: stage, tp: rank, ep: 0 }
    for (let group = 0; group < ep; group++) {
      for (let rank = 0; rank < etp; rank++) if (!expert.has(`${stage}/${group}/${rank}`)) return { pp: stage, tp: rank, ep: group }
    }
  }
  return undefined
}

/**
 * The folders as ranks of a layout. Errors: InvalidFile `checkpoint/rank-missing`, `checkpoint/rank-unexpected`,
 * `checkpoint/rank-layout`, each naming the folder. `said`: who says that this is the layout.
 */
export const ranksOf = (directory: string, names: ReadonlyArray<string>, sizes: RankSizes, said: string): ReadonlyArray<RankFolder> => {
  const { ep, etp, pp, tp } = sizes
  if (etp > tp || tp % etp !== 0) {
    refuse(directory, "checkpoint/rank-layout", `was saved with ${written(sizes)}: folders are named after tp, so those of etp ranks have overwritten each other`, "Load it with the trainer and save it with --ckpt-format torch_dist.")
  }
  const folders = names.map((name): RankFolder => {
    const [first = 0, ...more] = numbersOf(name)
    const expected = (pp > 1 ? 1 : 0) + (ep > 1 ? 1 : 0)
    const rank = { name, tp: first, pp: pp > 1 ? more[0] ?? -1 : 0, ep: ep > 1 ? more.at(-1) ?? -1 : 0 }
    if (more.length !== expected || rank.tp >= tp || rank.pp < 0 || rank.pp >= pp || rank.ep < 0 || rank.ep >= ep) {
      refuse(directory, "checkpoint/rank-unexpected", `holds ${name}, which is no rank of ${written(sizes)} (${said})`, "Is it left over from another save? Folders of one iteration must be of one layout.")
    }
    return rank
  })
  const missing = missingOf(folders, sizes)
  if (missing) refuse(directory, "checkpoint/rank-missing", `has no ${rankFolder(missing, sizes, names[0]!)}: ${written(sizes)} (${said}), and ${folders.length} rank${folders.length === 1 ? " is" : "s are"} there`, "The copy or the save is incomplete.")
  return folders.toSorted((a, b) => a.pp - b.pp || a.ep - b.ep || a.tp - b.tp)
}
