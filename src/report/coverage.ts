/** Which stored tensors each Hugging Face tensor became: the mapping that converts, laid over two spaces. */
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { type BoundParameter, bind } from "../bridge/Conversion.ts"
import { HF_SOURCE } from "../checkpoint/names.ts"
import { locatePart } from "../space/locatePart.ts"
import { hasOwnHead } from "../plan/exportRelation.ts"
import { headersOf } from "../space/HfSource.ts"
import { modulesOf } from "../plan/describe.ts"
import { describeModel } from "../space/describeModel.ts"
import { compileCarried } from "../plan/match.ts"
import { openedWeights } from "../space/openedWeights.ts"
import type { LeftBehind } from "../plan/accounting.ts"
import type { OpenedSpace } from "../space/OpenedSpace.ts"
import { isIn, type ItemsPlace, type TensorSpace } from "../space/TensorSpace.ts"
import { type Copy, volume } from "../tensor/Copy.ts"
import { type Picture, pictureOf } from "./model/pictures.ts"
import { Distinct } from "./model/Distinct.ts"
import type { ModelCoverage, CoverageRow, Made, MadePart } from "./PageData.ts"

/** Rows of axis 0 that a copy writes, first and last. */
const rowsOf = ({ shape, target }: Copy, width: number): readonly [number, number] => {
  const last = shape.reduce((sum, extent, k) => sum + (extent - 1) * target.strides[k]!, target.offset)
  return [Math.floor(target.offset / width), Math.floor(last / width)]
}

/** Parts of a parameter, by the HF tensor that fills them. */
const partsOf = function*({ copies, parameter }: BoundParameter) {
  const width = Math.max(1, volume(parameter.shape.slice(1)))
  for (const copy of copies) {
    const [first, last] = rowsOf(copy, width)
    for (const part of parameter.parts) {
      if (!part.rows || (part.rows[0] <= last && part.rows[1] > first)) yield { name: copy.source.tensor, part }
    }
  }
}

/** The pictures of parameters; equal ones are one. */
class Pictures {
  readonly #pictures = new Distinct<Picture>()

  get items(): ReadonlyArray<Picture> {
    return this.#pictures.items
  }

  of({ copies, kind, parameter, tensors }: BoundParameter, parts: ReadonlyArray<MadePart>): Made | undefined {
    const moved = copies.filter((copy) => !copy.echo)
    const sources = [...new Map(tensors.map((t) => [t.name, t])).values()].filter((t) => moved.some((copy) => copy.source.tensor === t.name))
    if (sources.length === 0) return undefined
    const picture = pictureOf(moved, sources, parameter.shape)
    return { kind, picture: this.#pictures.add(picture, JSON.stringify(picture)), sources: sources.map((t) => t.name), parts }
  }
}

/** The tensors of the model in a Megatron checkpoint, opened or planned. */
const modelOf = ({ tensors }: OpenedSpace): TensorSpace<ItemsPlace> =>
  ({ tensors: new Map([...tensors].flatMap(([name, t]) => (t.role === "model" && isIn("items")(t) ? [[name, t] as const] : []))) })

/**
 * `leftBehind`: what a conversion did not take, with its reasons.
 *
 * @throws Unsupported, InvalidFile, PlanRefused where the model cannot be mapped
 */
export const coverageOf = (families: FamilyRegistry, hf: OpenedSpace, megatron: OpenedSpace, leftBehind: ReadonlyArray<LeftBehind> = []): ModelCoverage | undefined => {
  const { hf: weights, hfConfig: config } = hf
  if (!weights || !config || !megatron.form) return undefined
  const stored = modelOf(megatron)
  const logical = openedWeights(weights, config)
  const description = describeModel(families.find(config.json), config, { ...headersOf(logical), ownHead: hasOwnHead(stored) })
  const { hf: mapped, parameters } = bind(modulesOf(megatron.form, description))
  const keys = new Map<string, Set<string>>()
  const kinds = new Map<string, string>()
  const absent = new Set<string>()
  const claimed = new Set<string>()
  const pictures = new Pictures()
  const made: Array<Made> = []
  for (const bound of parameters) {
    const { keyPrefix } = bound.module
    const located = new Map(bound.parameter.parts.map((part) => [part, locatePart(keyPrefix + part.key, part, true, stored)?.part]))
    for (const { name, part } of partsOf(bound)) {
      const found = located.get(part)?.key
      const key = found ?? keyPrefix + part.key
      if (found === undefined) absent.add(name)
      else claimed.add(found)
      const own = keys.get(name)
      if (own) own.add(key)
      else keys.set(name, new Set([key]))
      kinds.set(name, bound.kind)
    }
    const parts = [...located.values()].flatMap((part) => (part ? [{ key: part.key, at: part.at, ...(part.rows ? { rows: part.rows } : {}) }] : []))
    const own = parts.length > 0 ? pictures.of(bound, parts) : undefined
    if (own) made.push(own)
  }
  const carried = compileCarried(description.carried)
  const left = new Map(leftBehind.map((l) => [l.tensor, l.reason]))
  const fateOf = (name: string): Omit<CoverageRow, "name" | "bytes"> => {
    const kept = megatron.tensors.has(HF_SOURCE + name) ? [HF_SOURCE + name] : []
    const own = [...keys.get(name) ?? [], ...kept]
    const reason = left.get(name)
    if (reason !== undefined) return { fate: "left", how: reason, keys: kept }
    if (mapped.has(name)) {
      if (absent.has(name)) return { fate: mapped.get(name)!.mtp ? "left" : "missing", how: mapped.get(name)!.mtp ? "no multi-token prediction is stored" : kinds.get(name) ?? "", keys: own }
      return { fate: "converted", how: kinds.get(name) ?? "", keys: own }
    }
    if (kept.length > 0) return { fate: "kept", how: "own bytes beside the model", keys: kept }
    if (!logical.tensors.has(name)) return { fate: "converted", how: "part of a quantised tensor", keys: [] }
    if (carried(name)) return { fate: "left", how: "not part of the model; supplied by the original on export", keys: [] }
    return { fate: "unmapped", how: "no mapping row", keys: [] }
  }
  return {
    hf: hf.path,
    megatron: megatron.directory,
    rows: [...hf.tensors.values()].map(({ bytes, name }) => ({ name, bytes, ...fateOf(name) })),
    unclaimed: [...stored.tensors.keys()].filter((key) => !claimed.has(key)),
    made,
    pictures: pictures.items
  }
}
