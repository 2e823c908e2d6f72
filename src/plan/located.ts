/** The parameters of a model in a checkpoint: where each is stored, and what the two have that the other lacks. */
import type { BoundParameter, ConversionModule } from "../bridge/Conversion.ts"
import type { LocatedPart } from "../checkpoint/LocatedPart.ts"
import type { StoredParameter } from "../checkpoint/StoredArrays.ts"
import { PlanRefused, quote, quotePath } from "../errors.ts"
import { headMissing, thereInstead } from "../recognise/instead.ts"
import { account, ALLOWED, type LeftBehind, MTP_DROPPED, refuseIntegers } from "./accounting.ts"
import type { Checkpoint } from "../space/Checkpoint.ts"
import type { HfWeights } from "../space/HfWeights.ts"
import { keyInForm, layerForms, locatePart } from "../space/locatePart.ts"
import { type Shape, volume } from "../tensor/Copy.ts"
import { bytesOf, type DType, isInteger } from "../tensor/DType.ts"
import { commonDtype } from "./dtypes.ts"

export interface Located {
  readonly bound: BoundParameter
  readonly parts: ReadonlyArray<LocatedPart>
}

/** A parameter as it is stored, and as the model knows it. */
export interface OriginParameter extends StoredParameter {
  readonly bound: BoundParameter
}

/** What an HF tensor is made of. */
export interface TensorOrigin {
  /** The narrowest dtype that holds all of it. */
  stored: DType
  readonly parameters: Array<OriginParameter>
}

export interface Missing {
  readonly bound: BoundParameter
  /** As the checkpoint would name it. */
  readonly key: string
}

/** Find every parameter in the checkpoint; names the keys that are absent. */
export const locateParameters = (parameters: ReadonlyArray<BoundParameter>, checkpoint: Checkpoint) => {
  const forms = layerForms(checkpoint.tensors.keys())
  const where = quote(checkpoint.directory)
  const located: Array<Located> = []
  const missing: Array<Missing> = []
  for (const bound of parameters) {
    const { module, parameter } = bound
    const found = parameter.parts.map((part) =>
      locatePart(module.keyPrefix + part.key, part, parameter.ragged ?? false, checkpoint, where))
    if (found.every((part) => part !== undefined)) located.push({ bound, parts: found })
    else for (const [i, part] of parameter.parts.entries()) if (!found[i]) missing.push({ bound, key: keyInForm(module.keyPrefix + part.key, part, forms) })
  }
  return { located, missing }
}

/** PlanRefused: stored tensors that config.json implies are not there; what is there instead. */
export const refuseMissing = (
  missing: ReadonlyArray<Missing>,
  located: ReadonlyArray<Located>,
  { directory, tensors }: Checkpoint
): never => {
  const absent = new Map(missing.map(({ bound, key }) => [key, { name: key, shape: bound.parameter.shape }]))
  const used = new Set(located.flatMap(({ parts }) => parts.map(({ part }) => part.key)))
  const others = [...tensors].flatMap(([name, { shape }]) => (used.has(name) ? [] : [{ name, shape }]))
  const instead = thereInstead([...absent.values()], others)
  throw new PlanRefused({
    code: "plan/missing",
    problem: `${absent.size} stored tensor${absent.size === 1 ? "" : "s"} that config.json implies ${absent.size === 1 ? "is" : "are"} not in ${quotePath(directory)}`,
    names: [...absent.keys()],
    hint: headMissing([...absent.keys()]) ?? `Does --hf-model name the model that this checkpoint was made from?${instead === undefined ? "" : `\n  ${instead}`}`
  })
}

/** What every HF tensor that parameters give is made of. PlanRefused `plan/dtypes` if no dtype holds it. */
export const originsOf = (located: ReadonlyArray<Located>): ReadonlyMap<string, TensorOrigin> => {
  const origins = new Map<string, TensorOrigin>()
  for (const { bound, parts } of located) {
    const { copies, parameter: { shape }, tensors } = bound
    const [first, ...others] = parts as readonly [LocatedPart, ...Array<LocatedPart>]
    let stored = first.tensor.dtype
    for (const { part, tensor } of others) stored = commonDtype(stored, tensor.dtype, part.key)
    const parameter = { shape, copies, parts, bound }
    for (const { name } of tensors) {
      const known = origins.get(name)
      if (known) {
        known.stored = commonDtype(known.stored, stored, first.part.key)
        known.parameters.push(parameter)
      } else origins.set(name, { stored, parameters: [parameter] })
    }
  }
  return origins
}

/**
 * Every element of a used tensor belongs to one parameter, but for the padding of a vocabulary. A checkpoint with stacked layers
 * may have more or fewer of them than a model whose layers have keys of their own.
 */
export const requireAllElements = (located: ReadonlyArray<Located>, { directory }: Checkpoint): void => {
  const used = new Map<string, { elements: number; readonly shape: Shape }>()
  for (const { bound: { parameter }, parts } of located) {
    if (parameter.ragged) continue
    for (const { part, tensor } of parts) {
      const elements = volume(part.rows ? parameter.shape.with(0, part.rows[1] - part.rows[0]) : parameter.shape)
      const known = used.get(part.key)
      if (known) known.elements += elements
      else used.set(part.key, { elements, shape: tensor.shape })
    }
  }
  const wrong = [...used].filter(([, { elements, shape }]) => elements !== volume(shape))
  if (wrong.length === 0) return
  throw new PlanRefused({
    code: "plan/shape",
    problem: `${wrong.length === 1 ? "a stored tensor contradicts" : `${wrong.length} stored tensors contradict`} config.json`,
    names: wrong.map(([key, { elements, shape }]) => `${key} (config.json implies ${elements} elements, ${quote(directory)} has [${shape}])`)
  })
}

/** Integers where the model, or --hf-model, has floating-point values are codes without scales, or no weights at all. */
export const refuseStoredIntegers = (located: ReadonlyArray<Located>, weights: HfWeights | undefined, { directory }: Checkpoint): void => {
  const wrong = new Map<string, string>()
  for (const { bound, parts } of located) {
    for (const { part, tensor } of parts) {
      if (!isInteger(tensor.dtype)) continue
      const original = bound.tensors.map(({ name }) => weights?.tensors.get(name)).find((t) => t && !isInteger(t.dtype))
      if (bound.parameter.integer && !original) continue
      wrong.set(part.key, `${part.key} (${tensor.dtype}${original ? `; ${original.name} is ${original.dtype}` : ""})`)
    }
  }
  refuseIntegers([...wrong.values()], () => quote(directory))
}

/** Stored tensors that nothing used: MTP left out on purpose, allowed ones, or the plan is refused. */
export const leftOver = (
  { directory, tensors }: Checkpoint,
  used: ReadonlySet<string>,
  mtp: { readonly dropped: boolean },
  modules: ReadonlyArray<ConversionModule>,
  allowed: (name: string) => boolean
): ReadonlyArray<LeftBehind> => {
  const mtpKeys = new Set(mtp.dropped
    ? modules.flatMap((m) => m.entries.flatMap((e) => (e.kind === "parameter" && e.mtp ? e.parts.map((p) => m.keyPrefix + p.key) : [])))
    : [])
  const unused = Iterator.from(tensors).filter(([key]) => !used.has(key)).map(([key, t]) => ({ name: key, bytes: volume(t.shape) * bytesOf(t.dtype) }))
  const { leftBehind, unmapped } = account(unused, (key) => (mtpKeys.has(key) ? MTP_DROPPED : allowed(key) ? ALLOWED : undefined))
  if (unmapped.length > 0) {
    throw new PlanRefused({
      code: "plan/unmapped",
      problem: `${unmapped.length} stored tensor${unmapped.length === 1 ? "" : "s"} of ${quote(directory)} would be lost: the model that config.json describes has no such parameter`,
      names: unmapped,
      hint: "--allow-unmapped PATTERN leaves them behind on purpose (`*` stands for anything); the report lists them."
    })
  }
  return leftBehind
}
