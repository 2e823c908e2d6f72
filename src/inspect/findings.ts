/** What deserves a word about a space: fp32 islands, quantised weights, MTP, tied heads, padding, missing module states. */
import { describedRun } from "../arguments/describedRun.ts"
import { bitsOf, type DType, isFloat } from "../tensor/DType.ts"
import { configHints, recogniseHfTensors } from "../recognise/hfTensors.ts"
import { recogniseMegatronKeys } from "../recognise/megatronKeys.ts"
import { type LoadRoute, OTHER_ROUTE, ROUTE_MEANING, routesFor } from "../mimo/loadRoute.ts"
import { isAdapterKey } from "../model/adapterKey.ts"
import { stateModule } from "../model/shardKey.ts"
import { isTrainingRole, roleOf } from "../model/storedKey.ts"
import { described } from "../recognise/Recognised.ts"
import type { ModelFacts } from "./modelFacts.ts"
import { isEmbedding, isHead, isMtp, isQuantisation } from "../space/names.ts"
import type { UnroutedSpace } from "../space/OpenedSpace.ts"
import type { SpaceTensor } from "../space/TensorSpace.ts"

/** Something about the whole checkpoint that a reader should know, with the tensors that it is about. */
export interface Finding {
  /** Stable identifier, e.g. `fp32-islands`. */
  readonly code: string
  readonly text: string
  /** Tensors it is about, all of them. */
  readonly names: ReadonlyArray<string>
}

/** `141 056 bytes` */
const size = (tensors: ReadonlyArray<SpaceTensor>): string =>
  `${String(tensors.reduce((sum, t) => sum + t.bytes, 0)).replace(/\B(?=(\d{3})+$)/g, " ")} bytes`

const names = (tensors: ReadonlyArray<SpaceTensor>): ReadonlyArray<string> => tensors.map((t) => t.name)

const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`

/** The floating dtype that most bytes have. */
export const mainDtype = (tensors: Iterable<Pick<SpaceTensor, "bytes" | "dtype" | "role">>): DType | undefined => {
  const sums = new Map<DType, number>()
  for (const { bytes, dtype, role } of tensors) if (role === "model" && isFloat(dtype)) sums.set(dtype, (sums.get(dtype) ?? 0) + bytes)
  return [...sums].sort((a, b) => b[1] - a[1])[0]?.[0]
}

const EXPERT_BIAS = /(expert_bias|e_score_correction_bias|correction_bias)$/

export const findings = (space: UnroutedSpace, facts: ModelFacts): ReadonlyArray<Finding> => {
  const out: Array<Finding> = []
  const add = (code: string, found: ReadonlyArray<SpaceTensor>, text: string) => {
    if (found.length > 0) out.push({ code, text, names: names(found) })
  }
  const all = [...space.tensors.values()]
  const model = all.filter((t) => t.role === "model")
  const main = mainDtype(model)

  const keys = model.map(({ name }) => name)
  const known = space.kind === "safetensors" ? recogniseHfTensors(keys, space.hfConfig ? configHints(space.hfConfig.json) : {})
    : space.kind === "megatron" ? recogniseMegatronKeys(keys) : undefined
  if (known) out.push({ code: `recognised-${known.kind}`, text: `${described(known)}. ${known.next}`, names: [] })

  const quantised = model.filter((t) => /^F[468]_/.test(t.dtype) || t.dtype === "F4" || isQuantisation(t.name))
  if (quantised.length > 0 || facts.quantisation !== undefined) {
    out.push({
      code: "quantised",
      text: `quantised weights${facts.quantisation === undefined ? "" : ` (${facts.quantisation})`}: ${count(quantised.length, "tensor")} of packed values or scales`,
      names: names(quantised)
    })
  }
  if (main !== undefined && bitsOf(main) < 32) {
    const islands = model.filter((t) => isFloat(t.dtype) && bitsOf(t.dtype) > bitsOf(main) && !EXPERT_BIAS.test(t.name) && !isQuantisation(t.name))
    add("fp32-islands", islands, `${count(islands.length, "tensor")} of F32 in a ${main} model, ${size(islands)}`)
  }
  if (facts.dtype !== undefined && main !== undefined && facts.dtype !== main) {
    out.push({ code: "dtype", text: `the configuration says ${facts.dtype}, most bytes are ${main}`, names: [] })
  }
  const mtp = model.filter((t) => isMtp(t.name, space.kind === "safetensors" ? facts.layers : undefined))
  add("mtp", mtp, `multi-token prediction: ${count(mtp.length, "tensor")}, ${size(mtp)}`)

  const heads = model.filter((t) => isHead(t.name))
  const embeddings = model.filter((t) => isEmbedding(t.name))
  if (facts.tied === true) {
    if (heads.length > 0) add("tied-head", heads, "the head is tied to the embedding, yet a head is stored")
    else add("tied-head", embeddings.slice(0, 1), "the head is tied to the embedding; it is stored once")
  } else if (facts.tied === false && heads.length === 0 && embeddings.length > 0) {
    add("no-head", embeddings.slice(0, 1), "the head is not tied, yet no head is stored")
  }
  const rows = facts.vocabulary
  if (rows !== undefined) {
    const padded = [...embeddings, ...heads].filter((t) => !isMtp(t.name, facts.layers) && t.shape.length === 2 && t.shape[0]! > rows)
    // transformers refuses such a model; a trainer pads.
    if (space.kind === "safetensors") add("vocabulary", padded, `${padded[0]?.shape[0]} rows are stored, vocab_size in config.json says ${rows}`)
    else add("padding", padded, `${padded[0] ? padded[0].shape[0]! - rows : 0} rows of padding: ${padded[0]?.shape[0]} stored, vocabulary of ${rows}`)
  }
  if (space.kind === "megatron") megatron(space, all, out)
  return out
}

/** By which load routes a checkpoint's names can be loaded; undefined for other formats and what is no checkpoint. */
export const loadRoutesOf = ({ checkpoint }: UnroutedSpace): ReadonlyArray<LoadRoute> | undefined =>
  checkpoint && !checkpoint.ranks && !checkpoint.plainDcp ? routesFor([...checkpoint.metadata.tensors.keys()].filter((key) => roleOf(key) === "model")) : undefined

const megatron = (space: UnroutedSpace, all: ReadonlyArray<SpaceTensor>, out: Array<Finding>): void => {
  if (space.checkpoint?.wrapped) {
    out.push({ code: "wrapped", text: "the keys carry DDP's `module.`, shown without; `relabel --to plain` removes it", names: [] })
  }
  const routes = loadRoutesOf(space)
  if (routes && space.form === "mimo") {
    const [route] = routes
    const text = route === undefined ? "some components have names with `.module.`, others without: no load route takes them all; `relabel --to plain`, then `--to ddp`, makes them one" : `${ROUTE_MEANING[route]}; ${OTHER_ROUTE[route]}`
    out.push({ code: "load-route", text, names: [] })
  }
  const isOther = space.checkpoint?.plainDcp === true
  if (space.arguments && !space.runConfig) {
    const { problem } = describedRun(space.arguments)
    out.push({
      code: "arguments",
      text: `no run_config.yaml: ${problem === undefined ? `the model is that of the run's arguments (${space.arguments.size}, in the common state)` : `the run's arguments are in the common state, but ${problem}`}${isOther ? "" : "; `relabel --to bridge` writes one"}`,
      names: []
    })
  }
  if (space.checkpoint?.localSpec) {
    out.push({ code: "local-spec", text: "norms have the names of the local layer specification, shown by those of Transformer Engine's" + (isOther ? "" : "; `relabel --to te-spec` gives them these"), names: [] })
  }
  const training = all.filter((t) => isTrainingRole(t.role))
  const others = space.objects.filter((o) => stateModule(o.key) === undefined)
  if (training.length + others.length > 0) {
    out.push({
      code: "training-state",
      text: `training state: ${count(training.length, "tensor")} (${size(training)}) and ${count(others.length, "object")} of optimizer, scheduler and RNG`,
      names: [...names(training), ...others.map((o) => o.key)]
    })
  }
  const kept = all.filter((t) => t.role === "carried")
  if (kept.length > 0) {
    out.push({ code: "kept", text: `${count(kept.length, "Hugging Face tensor")} kept byte for byte beside the model (${size(kept)})`, names: names(kept) })
  }
  const states = space.objects.length - others.length
  if (states === 0 && !space.checkpoint?.ranks && !isOther && !all.every(({ name, role }) => role !== "model" || isAdapterKey(name))) {
    out.push({ code: "no-extra-states", text: "no `_extra_state` is stored; loaders ask for them (`relabel --to extra-states` supplies them)", names: [] })
  }
}
