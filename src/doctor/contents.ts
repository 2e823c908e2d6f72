/** The index and the data of a Megatron checkpoint: files, chunks, keys, module states, dtypes, padding. */
import { join } from "node:path"
import { argumentsOf, type TrainingArguments } from "../arguments/TrainingArguments.ts"
import { COMMON_FILE, COMMON_STATE, METADATA } from "../checkpoint/names.ts"
import { bitsOf, isFloat } from "../tensor/DType.ts"
import { FormatError, IoError, quote, some } from "../errors.ts"
import { readCommonState } from "../checkpoint/CommonState.ts"
import { factsOf } from "../space/describeValue.ts"
import type { ModelFacts } from "../inspect/modelFacts.ts"
import { mainDtype } from "../inspect/findings.ts"
import { isEmbedding, isHead, isQuantisation } from "../space/names.ts"
import { bytesOfTensor, type SpaceTensor } from "../space/TensorSpace.ts"
import type { Store } from "../store/Store.ts"
import { readSmall } from "../store/readSmall.ts"
import { layerSpecNames } from "../model/layerSpec.ts"
import { OTHER_ROUTE, ROUTE_MEANING, routesFor } from "../mimo/loadRoute.ts"
import { modalityOf, modelKeyOf, unwrapKey } from "../model/storedKey.ts"
import { draftOf } from "../relabel/Draft.ts"
import { expectedStates } from "../relabel/rules/extraStates.ts"
import { recogniseMegatronKeys } from "../recognise/megatronKeys.ts"
import { described, type Recognised } from "../recognise/Recognised.ts"
import { checkMetadata } from "../torch/DcpCheck.ts"
import { type DcpMetadata, decodeMetadata, METADATA_LIMITS } from "../torch/DcpMetadata.ts"
import { examineArguments } from "./argumentsCheck.ts"
import { type Diagnosis, diagnosis } from "./Diagnosis.ts"
import { shellRelabel, shell } from "../checkpoint/shell.ts"

/** The index, or why it cannot be read. */
export const examineIndex = async (store: Store, directory: string): Promise<{ readonly metadata?: DcpMetadata; readonly found: ReadonlyArray<Diagnosis> }> => {
  const path = join(directory, METADATA)
  try {
    return { metadata: decodeMetadata(await readSmall(store, path, path, METADATA_LIMITS.maxBytes)), found: [] }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    return {
      found: [diagnosis("error", "bad-metadata", `${METADATA} cannot be read: ${error.message}${error.place.tensor === undefined ? "" : ` (${quote(error.place.tensor)})`}`, {
        fix: "Copy it from where the checkpoint was saved; it cannot be rebuilt from the data, which has no names."
      })]
    }
  }
}

const sizesOf = async (store: Store, directory: string, metadata: DcpMetadata) => {
  const users = new Map<string, Array<string>>()
  const use = (file: string, key: string) => {
    const list = users.get(file)
    if (list) list.push(key)
    else users.set(file, [key])
  }
  for (const [key, { chunks }] of metadata.tensors) for (const file of new Set(chunks.map((c) => c.file))) use(file, key)
  for (const [key, { file }] of metadata.objects) use(file, key)
  const sizes = new Map<string, number>()
  const missing: Array<Diagnosis> = []
  for (const [file, keys] of users) {
    try {
      sizes.set(file, (await store.stat(join(directory, file))).size)
    } catch (error) {
      if (!(error instanceof IoError)) throw error
      missing.push(diagnosis("error", "absent-file", `${METADATA} places ${keys.length} entries in ${quote(file)}, which is not there: ${some(keys, 3)}`, {
        fix: "Copy the file from where the checkpoint was saved: every rank's file is needed.",
        names: keys
      }))
    }
  }
  return { sizes, missing }
}

const FIXES: Readonly<Record<string, string>> = {
  "dcp/hole": "A rank's part is missing: save the checkpoint again. Loaders do not notice; they leave random values there.",
  "dcp/overlap": "Two chunks claim the same elements: save the checkpoint again. Loaders do not notice.",
  "dcp/beyond-file": "The data file is cut short: copy it again.",
  "dcp/object-key": "Loaders with any strictness but the default stop at such a key; remove it from where it is saved.",
  "dcp/shared-bytes": "The index is corrupt: copy it again."
}

/** Problems found tensor by tensor, so that one does not hide the others. */
const examineChunks = (metadata: DcpMetadata, sizes: ReadonlyMap<string, number>): ReadonlyArray<Diagnosis> => {
  const problems = new Map<string, Array<readonly [key: string, message: string]>>()
  const check = (part: DcpMetadata) => {
    try {
      checkMetadata(part, sizes)
    } catch (error) {
      if (!(error instanceof FormatError)) throw error
      const list = problems.get(error.code) ?? []
      problems.set(error.code, list)
      list.push([error.place.tensor ?? "", error.message])
    }
  }
  const none = { className: metadata.className, tensors: new Map(), objects: new Map() }
  for (const [key, tensor] of metadata.tensors) {
    if (tensor.chunks.every((c) => sizes.has(c.file))) check({ ...none, tensors: new Map([[key, tensor]]) })
    // Of a tensor whose other chunks are gone, at least those that are there can be looked at.
    else for (const { file, length, offset } of tensor.chunks) if (sizes.has(file)) check({ ...none, objects: new Map([[`${key}/shard_0_1`, { file, offset, length }]]) })
  }
  for (const [key, object] of metadata.objects) if (sizes.has(object.file)) check({ ...none, objects: new Map([[key, object]]) })
  if (problems.size === 0 && [...metadata.tensors.values()].every((t) => t.chunks.every((c) => sizes.has(c.file)))) check(metadata)
  return [...problems].map(([code, list]) =>
    diagnosis("error", code.replace("dcp/", "chunk-"), `${list[0]![1]}${list.length > 1 ? ` (and ${list.length - 1} more entries of this kind)` : ""}: ${some(list.map(([key]) => key), 3)}`, {
      ...(FIXES[code] ? { fix: FIXES[code] } : {}),
      names: list.map(([key]) => key)
    }))
}

/** What the checkpoint is by its names, where no relabel mends it. */
export const recognised = (found: Recognised): Diagnosis =>
  diagnosis("error", found.kind, described(found), { fix: found.next, ...(found.example === undefined ? {} : { names: [found.example] }) })

const examineKeys = (directory: string, metadata: DcpMetadata): ReadonlyArray<Diagnosis> => {
  const out: Array<Diagnosis> = []
  const keys = [...metadata.tensors.keys()].filter((key) => modelKeyOf(key)?.space === "")
  const wrapped = keys.filter((key) => unwrapKey(key) !== key)
  if (wrapped.length > 0) {
    out.push(diagnosis("warning", "ddp-prefix", `${wrapped.length} keys carry a wrapper's prefix (DDP's module., as a MIMO trainer saves them, or model.): the reference's converter stops with a KeyError`, {
      fix: "Relabel it; export and inspect here read the keys as they are.",
      command: shellRelabel(directory, "plain"),
      names: wrapped
    }))
  }
  const [route] = routesFor(keys)
  if (keys.some((key) => modalityOf(unwrapKey(key)) !== undefined)) {
    out.push(route === undefined
      ? diagnosis("warning", "load-route", "some components have names with .module., others without: neither load route of a MegatronMIMO trainer takes them all", { fix: "Relabel it: --to plain, and --to ddp after it for checkpoint.pretrained_checkpoint.", command: shellRelabel(directory, "plain") })
      : diagnosis("note", "load-route", ROUTE_MEANING[route], route === "hook" ? { fix: `${OTHER_ROUTE[route]}.`, command: shellRelabel(directory, "ddp") } : {}))
  } else if (route !== undefined) {
    out.push(diagnosis("note", "load-route", "a trainer loads it as checkpoint.pretrained_checkpoint: names of standard checkpoints are the same before and after wrapping"))
  }
  const nameOf = layerSpecNames(keys)
  const local = keys.filter((key) => nameOf(key, "te") !== key)
  if (local.length > 0) {
    out.push(diagnosis("note", "local-spec", `${local.length} norms have the names of Megatron-Core's local layer specification: a trainer that builds Transformer Engine's layers asks for others`, {
      fix: "Relabel it for such a trainer; export and inspect here read both.",
      command: shellRelabel(directory, "te-spec"),
      names: local
    }))
  }
  const known = recogniseMegatronKeys(keys.map(unwrapKey))
  if (known && known.relabel === undefined) out.push(recognised(known))
  const slashes = keys.filter((key) => key.includes("/"))
  if (slashes.length > 0) {
    out.push(diagnosis("error", "slash", `keys must not contain /: ${some(slashes, 3)}`, { fix: "Rename the parameters where the checkpoint is saved.", names: slashes }))
  }
  const draft = draftOf(metadata)
  const expected = expectedStates(draft)
  const missing = expected.filter((key) => !metadata.objects.has(key))
  if (missing.length > 0) {
    out.push(diagnosis(missing.length === expected.length ? "error" : "warning", "no-extra-state",
      `${missing.length === expected.length ? "no" : `${missing.length} of ${expected.length}`} _extra_state ${missing.length === expected.length ? "is" : "are"} stored${missing.length === expected.length ? "" : " not"}: loaders at default strictness stop with "Missing key in checkpoint state_dict"`,
      { fix: "Relabel it, which supplies them.", command: shellRelabel(directory, "extra-states"), names: missing }))
  }
  if ([...metadata.tensors.keys()].some((key) => /\.weight_[wv]$/.test(key) || /\.experts\.((local_)?experts\.)?\d+\./.test(key))) {
    out.push(diagnosis("note", "singleton", "experts or gate and up halves are stored one by one (singleton_local_shards), which not every loader asks for", { fix: "Relabel it.", command: shellRelabel(directory, "grouped") }))
  }
  if (metadata.flattened) {
    out.push(diagnosis("note", "flattened", `${metadata.flattened.size} optimizer tensors are flat fragments of Megatron-Core up to 0.15; the weights are not concerned`, { names: [...metadata.flattened.keys()] }))
  }
  return out
}

/** Norms by Transformer Engine's names. */
const spaceTensors = (metadata: DcpMetadata): ReadonlyArray<Omit<SpaceTensor, "place">> => {
  const own = [...metadata.tensors].filter(([key]) => modelKeyOf(key)?.space === "").map(([key, tensor]) => [unwrapKey(key), tensor] as const)
  const nameOf = layerSpecNames(own.map(([key]) => key))
  return own.map(([key, { dtype, shape }]) => ({ name: nameOf(key, "te"), dtype, shape, bytes: bytesOfTensor(dtype, shape), role: "model" }))
}

const examineTensors = (metadata: DcpMetadata, facts: ModelFacts): ReadonlyArray<Diagnosis> => {
  const out: Array<Diagnosis> = []
  const tensors = spaceTensors(metadata)
  const main = mainDtype(tensors)
  if (main !== undefined && facts.dtype !== undefined && main !== facts.dtype) {
    out.push(diagnosis("warning", "dtype", `the run configuration says ${facts.dtype}, most bytes are ${main}: loaders cast without a word`, {
      fix: `Set params_dtype in run_config.yaml, or import again with --torch-dtype.`
    }))
  }
  const narrow = tensors.filter((t) => t.name.endsWith("expert_bias") && t.dtype !== "F32")
  if (narrow.length > 0) {
    out.push(diagnosis("warning", "expert-bias", `router biases are kept in F32 by trainers, here they are ${narrow[0]!.dtype}: their small updates are lost`, { fix: "Import again from the original.", names: narrow.map((t) => t.name) }))
  }
  const islands = tensors.filter((t) => main !== undefined && isFloat(t.dtype) && bitsOf(t.dtype) > bitsOf(main) && !t.name.endsWith("expert_bias"))
  if (islands.length > 0) {
    out.push(diagnosis("note", "fp32-islands", `${islands.length} tensors are wider than the ${main} of the rest; trainers load them into ${main} parameters`, { names: islands.map((t) => t.name) }))
  }
  // A scale goes with the weight that it is named after; a parameter may be called one, too.
  const names = new Set(tensors.map((t) => t.name))
  const goesWithWeight = (name: string) => !/_scales?$/.test(name) || names.has(name.replace(/_scales?$/, ""))
  const quantised = tensors.filter((t) => /^F[48]/.test(t.dtype) || (isQuantisation(t.name) && goesWithWeight(t.name)))
  if (quantised.length > 0) {
    out.push(diagnosis("error", "quantised", `${quantised.length} quantised tensors: Megatron saves weights dequantised and does not know these`, { fix: "Import again from the original.", names: quantised.map((t) => t.name) }))
  }
  const rows = facts.vocabulary
  const padded = rows === undefined ? [] : tensors.filter((t) => (isEmbedding(t.name) || (isHead(t.name) && t.shape[0] !== facts.labels)) && t.shape.length === 2 && t.shape[0] !== rows)
  if (padded.length > 0 && rows !== undefined) {
    const stored = padded[0]!.shape[0]!
    out.push(stored > rows
      ? diagnosis("note", "padding", `the vocabulary is padded from ${rows} to ${stored} rows; loaders of another padding accept it, export cuts it`, { names: padded.map((t) => t.name) })
      : diagnosis("error", "vocabulary", `the run configuration has a vocabulary of ${rows}, only ${stored} rows are stored: loaders fill the rest with zeros without a word`, {
        fix: "Correct vocab_size in run_config.yaml.",
        names: padded.map((t) => t.name)
      }))
  }
  return out
}

interface CommonFound {
  /** Of the run that saved it, where it holds them. */
  readonly args?: TrainingArguments
  readonly found: ReadonlyArray<Diagnosis>
}

const commonState = async (store: Store, directory: string, names: ReadonlyArray<string>, metadata: DcpMetadata): Promise<CommonFound> => {
  if (!names.includes(COMMON_FILE) && !metadata.objects.has(COMMON_STATE)) {
    return { found: [diagnosis("error", "no-common-state", `neither ${COMMON_FILE} nor ${COMMON_STATE} is there: every Megatron version refuses that`, { fix: "Import again, or take common.pt from the run that saved it." })] }
  }
  const state = (await readCommonState(store, directory, metadata))?.value
  const args = argumentsOf(state)
  const flagged = /singleton_local_shards.{0,4}true/i.test(factsOf(state).get("content_metadata") ?? "")
  return {
    ...(args ? { args } : {}),
    found: [
      ...(flagged ? [diagnosis("note", "singleton-flag", "content_metadata asks loaders for singleton_local_shards keys", { fix: "Relabel it.", command: shellRelabel(directory, "grouped") })] : []),
      ...(args ? examineArguments(args, spaceTensors(metadata)) : [])
    ]
  }
}

/** What loaders take from the common state, and whether the arguments of a run in it fit the tensors. */
export const examineCommon = async (store: Store, directory: string, names: ReadonlyArray<string>, metadata: DcpMetadata): Promise<CommonFound> => {
  try {
    return await commonState(store, directory, names, metadata)
  } catch (error) {
    if (!(error instanceof Error && "exitCode" in error)) throw error
    return { found: [diagnosis("error", "common-state", `the common state cannot be read: ${error.message}`, { fix: "Copy the checkpoint again." })] }
  }
}

/** Everything that can be said of a folder whose index can be read. */
export const examineContents = async (
  store: Store,
  directory: string,
  names: ReadonlyArray<string>,
  metadata: DcpMetadata,
  facts: ModelFacts
): Promise<ReadonlyArray<Diagnosis>> => {
  const { missing, sizes } = await sizesOf(store, directory, metadata)
  const unused = names.filter((name) => name.endsWith(".distcp") && !sizes.has(name) && !missing.some((m) => m.text.includes(quote(name))))
  return [
    ...missing,
    ...examineChunks(metadata, sizes),
    ...examineKeys(directory, metadata),
    ...examineTensors(metadata, facts),
    ...(unused.length > 0 ? [diagnosis("note", "unused-file", `${some(unused, 3)}: nothing in ${METADATA} lies in there`, { fix: "It can be removed.", command: shell("rm", ...unused.map((name) => join(directory, name))), names: unused })] : [])
  ]
}

