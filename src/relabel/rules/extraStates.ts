/**
 * Missing `_extra_state` objects. Loaders at default strictness ask for one per Transformer-Engine module and stop where it is
 * absent; an empty one means that FP8 is off. Superfluous ones are never asked for (torch-dist-format.md D.4).
 */
import { leadingAxes } from "../../model/layerKeys.ts"
import { stateKey, stateModule } from "../../model/shardKey.ts"
import { givesState, kindOf, moduleOf } from "../../model/moduleStates.ts"
import type { Draft } from "../Draft.ts"
import { modelKeyOf } from "../Draft.ts"
import { noEquivalent, type Rule } from "./Rule.ts"

interface Module {
  readonly path: string
  readonly kind: string
  /** Extents of the layer and expert axes in front of its weight's own. */
  readonly counts: ReadonlyArray<number>
  readonly isNorm: boolean
}

/** The modules of a model that have a weight. */
const modulesOf = (draft: Draft): ReadonlyArray<Module> => {
  const modules = new Map<string, Module>()
  for (const [full, { shape }] of draft.tensors) {
    const own = modelKeyOf(full)
    const path = own?.space === "" ? moduleOf(own.key) : undefined
    if (path === undefined || modules.has(path)) continue
    const axes = leadingAxes(path)
    modules.set(path, { path, kind: kindOf(path), counts: shape.slice(0, axes), isNorm: shape.length - axes === 1 })
  }
  return [...modules.values()]
}

const FINAL = /\.final_(layernorm|norm)$/
/** The parts of a model may be built differently: `…images.encoders.vit.` of `…images.encoders.vit.decoder.layers…`. */
const partOf = (path: string): string => /^(.*?)(?:decoder|mtp|merger)\./.exec(path)?.[1] ?? ""

/**
 * Every module state of a checkpoint whose tensors have these keys. A kind of module of which one has a state has them all. Where
 * there are states, but none of a kind: linear modules have them all the same, norms only if others of their part have them (those
 * of the local spec are plain modules, and some models have them in front of their layers only). `known`: the model says it itself.
 */
export const expectedStates = (draft: Draft, known?: (module: string) => boolean): ReadonlyArray<string> => {
  const modules = modulesOf(draft)
  if (known) return statesOf(modules.filter(({ path }) => known(path)))
  const byPath = new Map(modules.map((m) => [m.path, m]))
  const stored = new Set<string>()
  /** Parts in which some norm, and some norm of a layer, has a state. */
  const [norms, layerNorms] = [new Set<string>(), new Set<string>()]
  for (const key of draft.objects.keys()) {
    const path = stateModule(key)
    if (path === undefined) continue
    stored.add(partOf(path) + kindOf(path))
    if (!byPath.get(path)?.isNorm) continue
    norms.add(partOf(path))
    if (!FINAL.test(path)) layerNorms.add(partOf(path))
  }
  const hasState = ({ isNorm, kind, path }: Module): boolean => {
    const part = partOf(path)
    if (stored.has(part + kind)) return true
    const gives = givesState(path)
    if (stored.size === 0) return gives !== "no"
    return isNorm ? gives === "yes" && (FINAL.test(path) ? norms : layerNorms).has(part) : gives !== "no"
  }
  return statesOf(modules.filter(hasState))
}

const statesOf = (modules: ReadonlyArray<Module>): ReadonlyArray<string> =>
  modules.flatMap(({ counts, path }) => [...indices(counts)].map((index) => stateKey(path, index, counts)))

/** Layers × experts of one tensor; more is no model. */
const MOST_STATES = 1_000_000

function* indices(counts: ReadonlyArray<number>): Generator<ReadonlyArray<number>> {
  if (counts.reduce((a, b) => a * b, 1) > MOST_STATES) noEquivalent("extra-states", "a tensor has too many layers and experts")
  if (counts.length === 0) {
    yield []
    return
  }
  for (let i = 0; i < counts[0]!; i++) for (const rest of indices(counts.slice(1))) yield [i, ...rest]
}

export const missingStates = (draft: Draft, known?: (module: string) => boolean): ReadonlyArray<string> =>
  expectedStates(draft, known).filter((key) => !draft.objects.has(key))

/** Norms are built with states: at least one has one. */
export const hasNormState = (draft: Draft): boolean => {
  const norms = new Set(modulesOf(draft).filter(({ isNorm }) => isNorm).map(({ path }) => path))
  return [...draft.objects.keys()].some((key) => norms.has(stateModule(key) ?? ""))
}

/** The draft with these module states, empty ones. */
export const withEmptyStates = (draft: Draft, keys: ReadonlyArray<string>): Draft => {
  const objects = new Map(draft.objects)
  for (const key of keys) objects.set(key, "empty")
  return { ...draft, objects }
}

export const toExtraStates: Rule = (draft, { hasState }) => {
  const missing = missingStates(draft, hasState)
  return missing.length === 0 ? noEquivalent("extra-states", "none is missing") : withEmptyStates(draft, missing)
}
