/** What lies beside the data of an iteration: which of it goes along under another layout, and what is said of the rest. */
import { basename, dirname } from "node:path"
import { iterationOf, TRACKER, TRAIN_STATE_TRACKER } from "../checkpoint/names.ts"
import type { SideFile } from "../convert/filesBelow.ts"
import type { LayoutRow } from "../parallel/Layout.ts"
import { quote } from "../quote.ts"
import type { Store } from "../store/Store.ts"

/** One for each data-parallel rank: in the folder (Megatron-Bridge), or in that of a model-parallel rank in it (Megatron-LM). */
const DATA_LOADER = /^train_dataloader_dprank\d+\.pt$/
const MOST_NAMED = 6

export interface SideFiles {
  readonly files: ReadonlyArray<SideFile>
  /** Folders below that of the iteration. */
  readonly folders: ReadonlyArray<string>
}

/** What becomes of the states of data loaders. `layout`: undefined where it stays. */
export interface LoaderChoice {
  readonly before: ReadonlyArray<LayoutRow>
  readonly layout: ReadonlyArray<LayoutRow> | undefined
  readonly onlyModel: boolean
}

const named = (names: ReadonlyArray<string>): string =>
  names.slice(0, MOST_NAMED).map(quote).join(", ") + (names.length > MOST_NAMED ? ` and ${names.length - MOST_NAMED} more` : "")

const sameCopies = (before: ReadonlyArray<LayoutRow>, after: ReadonlyArray<LayoutRow>): boolean =>
  before.length > 0 && after.every(({ component, dp }) => before.find((row) => row.component === component)?.dp === dp)

/** Those of the iteration's folder that go along, and what is said of the others. States of data loaders do where the data-parallel sizes stay. */
export const sideFilesOf = ({ files, folders }: SideFiles, { before, layout, onlyModel }: LoaderChoice): SideFiles & { readonly notes: ReadonlyArray<string> } => {
  const left = files.filter(({ name }) => DATA_LOADER.test(basename(name)))
  if (left.length === 0 || (!onlyModel && (layout === undefined || sameCopies(before, layout)))) return { files, folders, notes: [] }
  const carried = files.filter((file) => !left.includes(file))
  const isIn = (folder: string) => ({ name }: SideFile): boolean => name.startsWith(`${folder}/`)
  const why = onlyModel
    ? "states of data loaders are left out"
    : "states of data loaders are left out, since each belongs to one of the former data-parallel ranks, and a trainer begins its data anew; they go along where --dp is that of the checkpoint"
  return {
    files: carried,
    folders: folders.filter((folder) => carried.some(isIn(folder)) || !left.some(isIn(folder))),
    notes: [`${why}: ${named(left.map(({ name }) => name).sort())}`]
  }
}

/** What a training folder holds beside its iterations and trackers, which is not part of any of them. */
export const besideIterations = async (store: Store, directory: string): Promise<ReadonlyArray<string>> => {
  const own = basename(directory)
  if (iterationOf(own) === undefined && own !== "release") return []
  const names = await store.list(dirname(directory))
  // Any folder can hold an iteration; a training folder has a tracker.
  if (!names.includes(TRACKER) && !names.includes(TRAIN_STATE_TRACKER)) return []
  const others = names.filter((name) => name !== TRACKER && name !== TRAIN_STATE_TRACKER && name !== own && iterationOf(name) === undefined && !name.startsWith(".")).sort()
  return others.length === 0 ? [] : [`beside the iterations, and not taken along: ${named(others)}`]
}
