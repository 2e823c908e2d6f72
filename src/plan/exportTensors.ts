/** What an export consists of, tensor by tensor: those of the model, those that travelled beside it, those taken from elsewhere. Pure. */
import type { ConfigField } from "../bridge/Family.ts"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { some, UsageError } from "../errors.ts"
import type { HfWeights } from "../space/HfWeights.ts"
import { storedArray } from "../space/StoredWeights.ts"
import { identity, sameShape, type Shape } from "../tensor/Copy.ts"
import { type DType, isFloat } from "../tensor/DType.ts"
import { unwidened } from "./againstOriginal.ts"
import type { ConstantParameter, ExportTensor, TensorSource, Unrounded } from "./ExportDraft.ts"
import type { ExportRelation } from "./exportRelation.ts"
import { type Located, originsOf, requireAllElements } from "./located.ts"
import { ACTIVATION_SCALES_REASON } from "./accounting.ts"
import { compileCarried } from "./match.ts"
import { castTo, type TorchDtype } from "./Options.ts"

/** The chunks that the parameters are stored in. */
export const chosenChunks = ({ located, model }: ExportRelation): ChunkSelection => {
  const chunks = new ChunkSelection(model.checkpoint.directory)
  for (const { bound, parts } of located) chunks.addParts(bound.parameter.shape, parts)
  return chunks
}

/** Stored tensors that the plan uses. */
export const usedKeys = ({ located }: ExportRelation): ReadonlySet<string> =>
  new Set(located.flatMap(({ parts }) => parts.map(({ part }) => part.key)))

export interface ModelTensors {
  readonly tensors: ReadonlyMap<string, ExportTensor>
  /** Those that are made from what was carried or is in --hf-model, where that is what they were before they were rounded. */
  readonly unrounded: Iterable<string>
}

/** The HF tensors of the model. Chunks with their values before rounding are added to `chunks`. */
export const modelTensors = (relation: ExportRelation, torchDtype: TorchDtype, chunks: ChunkSelection): ModelTensors => {
  const { conversion, located, missing, model: { checkpoint, weights } } = relation
  const cast = castTo(torchDtype)
  const origins = originsOf(located)
  requireAllElements(located, checkpoint)
  const ownDtypes = weights && !cast ? unwidened(located, origins, weights) : new Map<string, DType>()
  const dtypeOf = (name: string): DType => {
    const { stored } = origins.get(name)!
    return cast && isFloat(stored) ? cast : ownDtypes.get(name) ?? stored
  }
  const unroundedOf = (name: string, dtype: DType, shape: Shape): Unrounded | undefined => {
    const kept = checkpoint.kept.get(name)
    if (kept && kept.place.stored.chunks.length === 1 && kept.dtype === dtype && sameShape(kept.shape, shape)) {
      chunks.add(kept.name, kept.place.stored)
      return { kind: "carried", chunk: kept.place.stored.chunks[0]! }
    }
    const original = weights?.tensors.get(name)
    return original?.place.kind === "range" && original.dtype === dtype && sameShape(original.shape, shape)
      ? { kind: "original", array: storedArray(weights!.stored, name) }
      : undefined
  }
  const unrounded = new Map<string, Unrounded>()
  for (const { bound } of located) {
    for (const { echo, source: { tensor: name }, transform } of bound.copies) {
      const found = echo || !transform ? undefined : unroundedOf(name, dtypeOf(name), conversion.hf.get(name)!.shape)
      if (found) unrounded.set(name, found)
    }
  }
  const tensors = new Map<string, ExportTensor>()
  const incomplete = new Set(missing.flatMap(({ bound }) => bound.tensors.map((t) => t.name)))
  for (const { name, shape } of conversion.hf.values()) {
    if (incomplete.has(name)) continue
    tensors.set(name, { name, dtype: dtypeOf(name), shape, from: { kind: "model", origin: origins.get(name)!, unrounded: unrounded.get(name) } })
  }
  return { tensors, unrounded: unrounded.keys() }
}

export interface FoundTensors {
  readonly tensors: ReadonlyArray<ExportTensor>
  readonly notes: ReadonlyArray<string>
}

export interface CarriedTensors extends FoundTensors {
  /** Names of all that the family carries, made or not. */
  readonly carried: ReadonlyArray<string>
}

/** What Megatron has no place for: the checkpoint's own copy, else the alias or the original model's bytes. */
export const carriedTensors = ({ conversion, model: { checkpoint, description, weights }, mtp }: ExportRelation, made: ReadonlyMap<string, ExportTensor>, chunks: ChunkSelection): CarriedTensors => {
  const tensors = new Map<string, ExportTensor>()
  const carried: Array<string> = []
  const notes: Array<string> = []
  /** Kept for a model of another spelling or config. */
  const placeless: Array<string> = []
  const ruleOf = compileCarried(description.carried)
  const mtpNames = new Set(mtp.names)
  const unmade = (names: Iterable<string>) => Iterator.from(names).filter((name) => !made.has(name))
  for (const name of new Set([...unmade(checkpoint.kept.keys()), ...unmade(weights?.tensors.keys() ?? [])])) {
    const isActivationScale = weights?.activationScales.has(name) === true
    const rule = ruleOf(name) ?? (isActivationScale ? { pattern: name, why: ACTIVATION_SCALES_REASON } : undefined)
    const kept = checkpoint.kept.get(name)
    if (!rule) {
      if (kept && !conversion.hf.has(name) && !mtpNames.has(name)) placeless.push(name)
      continue
    }
    carried.push(name)
    const alias = rule.alias === undefined ? undefined : made.get(rule.alias) ?? tensors.get(rule.alias)
    const original = weights?.tensors.get(name)
    const add = ({ dtype, shape }: Pick<ExportTensor, "dtype" | "shape">, from: TensorSource): void => void tensors.set(name, { name, dtype, shape, from })
    if (kept) {
      chunks.add(kept.name, kept.place.stored)
      add(kept, { kind: "carried", tensor: kept })
    } else if (alias) {
      add(alias, { kind: "repeated", tensor: alias })
      notes.push(`${name} is written as a copy of ${alias.name}`)
    } else if (original) {
      add(original, { kind: "values", tensor: original })
      if (!isActivationScale) notes.push(`${name} is taken from --hf-model: the checkpoint does not hold it`)
    }
  }
  if (placeless.length > 0) {
    const [s, has, is] = placeless.length === 1 ? ["", "has", "is"] : ["s", "have", "are"]
    notes.push(`${placeless.length} tensor${s} that the checkpoint carries beside the model ${has} no place in the model of --hf-model and ${is} not written: ${some(placeless, 5)}`)
  }
  return { tensors: [...tensors.values()], carried, notes }
}

export interface MtpTensors extends FoundTensors {
  readonly configFields: ReadonlyArray<ConfigField>
}

/** Multi-token prediction that the checkpoint lacks comes from another copy of the model, or is left out and config.json says so. */
export const mtpTensors = ({ model: { description, weights }, mtp }: ExportRelation, graft: HfWeights | undefined): MtpTensors => {
  const none = { tensors: [], configFields: [] }
  if (!mtp.dropped) return { ...none, notes: graft ? ["--mtp-from is not needed: the checkpoint holds its own multi-token-prediction tensors"] : [] }
  if (graft && !mtp.stored) {
    const tensors = mtp.names.map((name): ExportTensor => {
      const original = graft.tensors.get(name)
      if (!original) throw new UsageError({ problem: `--mtp-from: ${graft.stored.directory} has no tensor ${name}` })
      return { name, dtype: original.dtype, shape: original.shape, from: { kind: "values", tensor: original } }
    })
    return { tensors, configFields: [], notes: [`${mtp.names.length} multi-token-prediction tensors are taken from ${graft.stored.directory}`] }
  }
  const promised = weights && !mtp.names.some((name) => weights.tensors.has(name))
  if (promised) return { ...none, notes: ["config.json promises multi-token-prediction layers; neither the checkpoint nor --hf-model has them"] }
  return {
    tensors: [],
    configFields: description.mtpFields.map((path) => ({ path, value: 0 })),
    notes: mtp.stored ? [] : ["the checkpoint holds no multi-token-prediction tensors; config.json is written without those layers (--mtp-from HF_DIR restores them)"]
  }
}

/** Parameters that an import fills with a constant. */
export const constantsOf = (located: ReadonlyArray<Located>): ReadonlyArray<ConstantParameter> =>
  located.flatMap(({ bound: { constant, module, parameter: { name, shape } }, parts }) => {
    if (constant === undefined) return []
    const id = module.keyPrefix + name
    return [{ id, dtype: parts[0]!.tensor.dtype, shape, parameter: { shape, copies: [identity(id, name, shape)], parts }, value: constant }]
  })
