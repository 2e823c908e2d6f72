/** The files around the data of a Megatron checkpoint: trackers, train state, backend, what lies beside it. */
import { join } from "node:path"
import { BACKEND, COMMON_FILE, iterationFolder, iterationOf, METADATA, TRACKER, TRAIN_STATE, TRAIN_STATE_TRACKER } from "../checkpoint/names.ts"
import { isOfRanks } from "../checkpoint/legacy/rankFolders.ts"
import { parseJson } from "../document/StrictJson.ts"
import { FormatError, IoError, quote } from "../errors.ts"
import type { Store } from "../store/Store.ts"
import { present } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import { nestedCheckpoint, ZARR } from "../recognise/files.ts"
import { readTrainState } from "../torch/TrainState.ts"
import { type Diagnosis, diagnosis } from "./Diagnosis.ts"
import { shell, shellWrite } from "../checkpoint/shell.ts"

const LARGEST_SMALL_FILE = 1 << 20

export interface Folder {
  /** The folder with the data, if one can be found. */
  readonly directory?: string
  /** Names in it. */
  readonly names: ReadonlyArray<string>
  readonly found: ReadonlyArray<Diagnosis>
  /** It holds a folder for each rank, not a `torch_dist` checkpoint. */
  readonly ranks?: true
}

const BACKEND_TEXT = '{"sharded_backend": "torch_dist", "sharded_backend_version": 1}'

const REWRITE = "import, or relabel to any naming, writes both trackers"

const stepOf = async (store: Store, parent: string): Promise<{ step?: number; problem?: string }> => {
  const path = join(parent, TRAIN_STATE_TRACKER)
  try {
    return { step: readTrainState(await readSmall(store, path, path, LARGEST_SMALL_FILE)).step }
  } catch (error) {
    if (error instanceof FormatError || error instanceof IoError) return { problem: error.message }
    throw error
  }
}

/** A parent directory: what its trackers say, and whether that is there. */
const parentFolder = async (store: Store, path: string, names: ReadonlyArray<string>): Promise<Folder> => {
  const found: Array<Diagnosis> = []
  const steps = names.flatMap((name) => iterationOf(name) ?? []).sort((a, b) => a - b)
  const named = new Map<string, string>()
  const latest = steps.at(-1)
  const own = latest === undefined ? undefined : join(path, iterationFolder(latest), TRAIN_STATE)
  const copyTrainState = own !== undefined && (await present(store, own)) ? shell("cp", own, join(path, TRAIN_STATE_TRACKER)) : undefined
  const writeStep = latest === undefined ? undefined : shellWrite(String(latest), join(path, TRACKER))
  if (names.includes(TRACKER)) {
    const file = join(path, TRACKER)
    const text = new TextDecoder().decode(await readSmall(store, file, file, LARGEST_SMALL_FILE)).trim()
    if (text === "") found.push(diagnosis("error", "empty-tracker", `${TRACKER} is empty: its writer was interrupted`, { fix: `Write the step into it, e.g. ${latest ?? 0}`, command: writeStep }))
    else if (text === "release") named.set(TRACKER, text)
    else if (/^\d{1,15}$/.test(text)) named.set(TRACKER, iterationFolder(Number(text)))
    else found.push(diagnosis("error", "bad-tracker", `${TRACKER} says ${quote(text)}, which is no step`, { fix: `Write the step into it, e.g. ${latest ?? 0}`, command: writeStep }))
  }
  if (names.includes(TRAIN_STATE_TRACKER)) {
    const { problem, step } = await stepOf(store, path)
    if (step !== undefined) named.set(TRAIN_STATE_TRACKER, iterationFolder(step))
    else found.push(diagnosis("error", "bad-train-state", `${TRAIN_STATE_TRACKER} cannot be read: ${problem}`, { fix: `Copy ${TRAIN_STATE} of the iteration over it.`, command: copyTrainState }))
  }
  if (named.size === 0 && found.length === 0) {
    found.push(diagnosis("error", "no-tracker",
      `neither ${TRAIN_STATE_TRACKER} nor ${TRACKER} is there: the reference finds no iteration, loads nothing, and exports random weights without a word`,
      {
        fix: `Copy ${TRAIN_STATE} of the iteration to ${TRAIN_STATE_TRACKER} and write the step into ${TRACKER} (${REWRITE}), or name the iter_* folder.`,
        command: copyTrainState && writeStep && `${copyTrainState} && ${writeStep}`
      }))
  } else if (!named.has(TRAIN_STATE_TRACKER) && named.get(TRACKER) === iterationFolder(0)) {
    found.push(diagnosis("error", "tracker-zero", `${TRACKER} says 0 and ${TRAIN_STATE_TRACKER} is missing: Megatron-Bridge stops with an AssertionError`, {
      fix: `Copy ${TRAIN_STATE} of the iteration to ${TRAIN_STATE_TRACKER}; ${REWRITE}.`,
      command: copyTrainState
    }))
  } else if (named.size === 1 && found.length === 0) {
    const missing = named.has(TRACKER) ? TRAIN_STATE_TRACKER : TRACKER
    found.push(diagnosis("warning", "one-tracker", `${missing} is missing: ${missing === TRACKER ? "Megatron-LM" : "Megatron-Bridge's training"} looks for it`, {
      fix: `${REWRITE}.`,
      // Only where it is certain which iteration is meant.
      command: latest !== undefined && iterationFolder(latest) === [...named.values()][0] ? (missing === TRACKER ? writeStep : copyTrainState) : undefined
    }))
  }
  const folders = [...new Set(named.values())]
  if (folders.length > 1 && !folders.includes("release")) {
    found.push(diagnosis("error", "trackers-disagree", [...named].map(([file, folder]) => `${file} names ${folder}`).join(", "), { fix: "Correct the one that is wrong." }))
  }
  const gone = folders.filter((folder) => !names.includes(folder))
  for (const folder of gone) found.push(diagnosis("error", "tracked-missing", `the tracker names ${folder}, which is not there`, { fix: "Restore the folder, or write a step that is there into the trackers." }))
  const highest = latest
  const tracked = folders.find((folder) => names.includes(folder))
  if (tracked !== undefined && highest !== undefined && iterationFolder(highest) !== tracked && tracked !== "release") {
    found.push(diagnosis("warning", "not-highest",
      `the trackers name ${tracked}, the highest folder is ${iterationFolder(highest)}: the reference takes the configuration from the highest and the weights from the tracked one`,
      { fix: `Move ${iterationFolder(highest)} away, or name the iter_* folder.`, command: shell("mv", join(path, iterationFolder(highest)), join(path, `set-aside-${iterationFolder(highest)}`)) }))
  }
  if (names.some((name) => /^model.*\.safetensors$/.test(name))) {
    found.push(diagnosis("error", "hf-beside", "Hugging Face weights lie beside the iteration folders: Megatron-Bridge takes the directory for a Hugging Face model and refuses it", {
      fix: "Move model*.safetensors to a directory of their own."
    }))
  }
  const folder = tracked ?? (highest === undefined ? undefined : iterationFolder(highest))
  const use = folder ?? (names.includes("release") ? "release" : undefined)
  if (use === undefined) return { names: [], found }
  const directory = join(path, use)
  return { directory, names: await store.list(directory), found }
}

const backend = async (store: Store, directory: string, names: ReadonlyArray<string>): Promise<ReadonlyArray<Diagnosis>> => {
  if (!names.includes(BACKEND)) {
    return [diagnosis("error", "no-backend", `${BACKEND} is missing: Megatron takes the folder for another format (torch_dcp, fsdp_dtensor) and fails`, {
      fix: `If it is torch_dist, write ${BACKEND} anew.`,
      command: shellWrite(BACKEND_TEXT, join(directory, BACKEND))
    })]
  }
  const path = join(directory, BACKEND)
  let json: unknown
  try {
    json = parseJson(await readSmall(store, path, path, LARGEST_SMALL_FILE))
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    return [diagnosis("error", "bad-backend", `${BACKEND}: ${error.message}`, { fix: "Write it anew.", command: shellWrite(BACKEND_TEXT, path) })]
  }
  const name = (json as { sharded_backend?: unknown } | null)?.sharded_backend
  if (name === "torch_dist") return []
  const zarr = name === "zarr"
  return [diagnosis("error", "other-backend", `the checkpoint's format is ${quote(typeof name === "string" ? name : JSON.stringify(name) ?? "nothing")}, which ${zarr ? "current Megatron can no longer load" : "is not torch_dist"}`, {
    fix: zarr ? ZARR : "Convert it with Megatron-LM's --ckpt-convert-format torch_dist."
  })]
}

/** Look at a checkpoint path: a parent directory or an iteration folder. */
export const examineFolder = async (store: Store, path: string): Promise<Folder> => {
  const names = await store.list(path)
  const nested = nestedCheckpoint(names)
  if (nested !== undefined) return examineFolder(store, join(path, nested))
  const own = names.includes(METADATA) || names.includes(BACKEND) || names.some((name) => name.endsWith(".distcp")) || names.some(isOfRanks)
  const folder = own ? { directory: path, names, found: [] } : await parentFolder(store, path, names)
  if (folder.directory === undefined) return folder
  const { directory } = folder
  const found = [...folder.found]
  if (folder.names.some(isOfRanks) && !folder.names.includes(METADATA) && !folder.names.includes(BACKEND)) return { directory, names: folder.names, found, ranks: true }
  found.push(...await backend(store, directory, folder.names))
  if (!folder.names.includes(METADATA)) {
    found.push(diagnosis("error", "no-metadata", `${METADATA} is missing: the save was interrupted, or the copy left hidden files out`, { fix: "Copy it again with hidden files (cp -a, rsync -a)." }))
  }
  if (!folder.names.includes(TRAIN_STATE)) {
    found.push(diagnosis("note", "no-train-state", `${TRAIN_STATE} is missing: a resuming trainer takes the step from the common state`, { fix: "relabel writes one." }))
  }
  if (folder.names.includes(COMMON_FILE)) found.push(diagnosis("note", "common-file", `${COMMON_FILE} is there: Megatron-Core up to 0.18 needs it, later ones prefer it`))
  return { directory, names: folder.names, found }
}
