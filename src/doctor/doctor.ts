/** What is wrong with a checkpoint, with the fix for each known problem. Looks at headers only (of adapters at their matrices, of folders of ranks also at what several ranks hold), and opens what a conversion would refuse. */
import { Effect } from "effect"
import { dirname, join, resolve } from "node:path"
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from "../adapters/peftConfig.ts"
import { describedRun } from "../arguments/describedRun.ts"
import type { TrainingArguments } from "../arguments/TrainingArguments.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { BACKEND, METADATA, RUN_CONFIG } from "../checkpoint/names.ts"
import { shellRelabel } from "../checkpoint/shell.ts"
import { FormatError, InvalidFile } from "../errors.ts"
import { modelFacts } from "../inspect/modelFacts.ts"
import { kindOfPath, openSpace } from "../space/openSpace.ts"
import { LARGEST_RUN_CONFIG, parseRunConfig, type RunConfigMap } from "../runconfig/RunConfigFile.ts"
import { reading } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { isRemote } from "../remote/place.ts"
import { OtherStore, storeInUse } from "../remote/storeInUse.ts"
import type { Store } from "../store/Store.ts"
import { readSmall } from "../store/readSmall.ts"
import { type PlainDcp, recognisePlainDcp } from "../recognise/megatronKeys.ts"
import { recogniseFiles } from "../recognise/files.ts"
import { described, type Recognised } from "../recognise/Recognised.ts"
import { examineAdapters } from "./adapters.ts"
import { examineCommon, examineContents, examineIndex, recognised } from "./contents.ts"
import { bySeverity, type Diagnosis, diagnosis } from "./Diagnosis.ts"
import { examineFolder, type Folder } from "./folder.ts"
import { examineHf } from "./hfDirectory.ts"
import { examineOtherFormat } from "./otherFormats.ts"
import { examineRunConfig } from "./runConfigCheck.ts"
import { stagingFolders } from "./staging.ts"

/** What `examine` found. */
export interface DoctorReport {
  readonly path: string
  /** Worst first. */
  readonly found: ReadonlyArray<Diagnosis>
  /** Nothing a loader would stumble over. */
  readonly sound: boolean
}

const examineConfigFile = async (
  store: Store,
  directory: string,
  providers: ReadonlyArray<string>
): Promise<{ readonly config?: RunConfigMap; readonly found: ReadonlyArray<Diagnosis> }> => {
  const path = join(directory, RUN_CONFIG)
  try {
    const bytes = await readSmall(store, path, path, LARGEST_RUN_CONFIG)
    const config = parseRunConfig(bytes)
    return { config, found: examineRunConfig(config, path, new TextDecoder().decode(bytes), providers) }
  } catch (error) {
    if (!(error instanceof FormatError || error instanceof InvalidFile)) throw error
    return { found: [diagnosis("error", "bad-run-config", `${RUN_CONFIG} cannot be read: ${error.message}`, { fix: "Take it from where the checkpoint was saved." })] }
  }
}

/** Megatron-Bridge builds the model from run_config.yaml alone; what the arguments of a run say of it can be written as one. */
const withoutRunConfig = (directory: string, args: TrainingArguments | undefined): ReadonlyArray<Diagnosis> => {
  const text = `${RUN_CONFIG} is missing: Megatron-Bridge cannot rebuild the model from this folder`
  if (!args) return [diagnosis("warning", "no-run-config", text, { fix: "Import writes one; relabel --to standard --hf-model DIR does, too." })]
  const { problem } = describedRun(args)
  return [problem === undefined
    ? diagnosis("warning", "no-run-config", `${text}; the arguments of the Megatron-LM run that wrote it say which model it is`, { fix: "Relabel it, which makes one from them, and both trackers.", command: shellRelabel(directory, "bridge") })
    : diagnosis("warning", "no-run-config", `${text}; the arguments of the Megatron-LM run that wrote it do not describe the model: ${problem}`, { fix: "relabel --to standard --hf-model DIR makes one from a model of the same layers." })]
}

/** What the folder is, where its index is one of plain DCP. */
const plainDcpAt = async (store: Store, { directory, names }: Folder): Promise<PlainDcp | Recognised | undefined> => {
  if (directory === undefined || !names.includes(METADATA)) return undefined
  const { metadata } = await examineIndex(store, directory)
  return metadata && recognisePlainDcp(metadata, names.includes(BACKEND))
}

const examineTorchDist = async (store: Store, folder: Folder, providers: ReadonlyArray<string>): Promise<ReadonlyArray<Diagnosis>> => {
  const { directory, names } = folder
  if (directory === undefined) return folder.found
  const config = names.includes(RUN_CONFIG) ? await examineConfigFile(store, directory, providers) : undefined
  const index = names.includes(METADATA) ? await examineIndex(store, directory) : { found: [] }
  const common = index.metadata ? await examineCommon(store, directory, names, index.metadata) : { found: [] }
  const args = common.args
  const facts = modelFacts(config?.config ? { runConfig: config.config } : config || !args ? {} : { arguments: args })
  const contents = index.metadata ? await examineContents(store, directory, names, index.metadata, facts) : []
  const described = config?.found ?? withoutRunConfig(directory, args)
  return [...folder.found, ...described, ...index.found, ...contents, ...common.found]
}

/** Names by which `peft` is known. */
const isPeft = (names: ReadonlyArray<string>): boolean => names.includes(ADAPTER_CONFIG) || names.includes(ADAPTER_WEIGHTS)

/** A sound adapter need not be a model as well. */
const asAdapter = (diagnosis: Diagnosis): Diagnosis => (diagnosis.code === "adapter-only" ? { ...diagnosis, severity: "warning" } : diagnosis)

/** What is there besides a model: adapters, whose matrices are read. What cannot be opened is told elsewhere. */
const adaptersAt = (families: FamilyRegistry, path: string, hfModel: string | undefined) =>
  openSpace(path, families).pipe(
    Effect.catchTags({ InvalidFile: () => Effect.succeed(undefined), Unsupported: () => Effect.succeed(undefined) }),
    Effect.flatMap((space) => (space ? examineAdapters(families, space, hfModel) : Effect.succeed(undefined)))
  )

const examineSafetensors = Effect.fnUntraced(function*(families: FamilyRegistry, path: string, hfModel: string | undefined) {
  const store = yield* storeInUse
  const names = yield* reading(async () => ((await store.stat(path)).kind === "directory" ? await store.list(path) : []))
  const adapters = isPeft(names) ? yield* adaptersAt(families, path, hfModel) : undefined
  if (!adapters) return yield* examineHf(families, path)
  const known = recogniseFiles([ADAPTER_CONFIG])!
  return [diagnosis("warning", known.kind, described(known), { fix: known.next }), ...adapters.found]
})

const examineMegatron = Effect.fnUntraced(function*(families: FamilyRegistry, store: Store, path: string, providers: ReadonlyArray<string>, hfModel: string | undefined) {
  const folder = yield* reading(() => examineFolder(store, path))
  if (folder.ranks && folder.directory !== undefined) return [...folder.found, ...(yield* examineOtherFormat(folder.directory))]
  // Of another format nothing else is said: the remedies for torch_dist do not help it.
  const plain = yield* reading(() => plainDcpAt(store, folder))
  if (plain) return "next" in plain ? [recognised(plain)] : yield* examineOtherFormat(path)
  const found = yield* reading(() => examineTorchDist(store, folder, providers))
  if (folder.directory === undefined || !found.some(({ code }) => code === "adapter-only" || code === "adapters")) return found
  const adapters = yield* adaptersAt(families, folder.directory, hfModel)
  if (!adapters) return found
  const isSound = !adapters.found.some(({ severity }) => severity === "error")
  return [...(isSound ? found.map(asAdapter) : found), ...adapters.found]
})

/**
 * Examine a checkpoint of any kind; adapters also with the base model `hfModel`. `providers`: dotted names of the provider classes of known models, to notice one that moved.
 * Errors only where the path itself cannot be read.
 */
export const examinePath = Effect.fnUntraced(function*(families: FamilyRegistry, path: string, providers: ReadonlyArray<string>, hfModel?: string) {
  const store = yield* storeInUse
  const kind = yield* kindOfPath(path)
  const found = kind === "megatron"
    ? yield* examineMegatron(families, store, path, providers, hfModel)
    : kind === "safetensors"
    ? yield* examineSafetensors(families, path, hfModel)
    : yield* openSpace(path).pipe(Effect.map((space): ReadonlyArray<Diagnosis> => space.notes.map((note) => diagnosis("note", "note", note))))
  // Only beside what is written, on the local disk, are there staging folders.
  const staging = isRemote(path) || (yield* OtherStore) ? [] : yield* Effect.flatMap(Disk, (disk) => reading(() => stagingFolders(disk, dirname(resolve(path)))))
  const all = bySeverity([...found, ...staging])
  return { path, found: all, sound: !all.some((d) => d.severity === "error") } satisfies DoctorReport
})
