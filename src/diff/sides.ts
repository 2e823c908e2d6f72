/**
 * Two spaces brought under common names: as they are, through a family's mapping (Hugging Face against Megatron), or through the
 * component prefixes (standard against MIMO).
 */
import { type ComparedAdapter, openAdapterSides, type OtherScale, otherScales, scalesOf } from "../adapters/compared.ts"
import { isPeftDirectory } from "../adapters/PeftDirectory.ts"
import { surveyAdapters } from "../adapters/survey/survey.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { exportArray, readExportPlan } from "../plan/ExportDraft.ts"
import { planExport } from "../plan/planExport.ts"
import type { TargetArray } from "../engine/index.ts"
import { componentsIn } from "../space/components.ts"
import { componentsOf } from "../space/names.ts"
import { openSpace } from "../space/openSpace.ts"
import type { OpenedSpace, OpenedTensor } from "../space/OpenedSpace.ts"
import { isTrainingRole } from "../model/storedKey.ts"
import { wholeTensor } from "../space/TensorSpace.ts"
import { openTensors } from "../space/openTensors.ts"
import { converting } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { componentsOfCheckpoint } from "../relabel/familyFacts.ts"
import { unroute } from "../mimo/routing.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { type ConversionError, quote, UsageError } from "../errors.ts"

export interface SideTensor {
  readonly dtype: DType
  readonly shape: Shape
  readonly component: string
}

/** The elements of some tensors of a side. */
export interface SideData {
  readonly array: (name: string) => TargetArray
}

export interface DiffSide {
  readonly path: string
  /** By common name. */
  readonly tensors: ReadonlyMap<string, SideTensor>
  readonly open: (names: ReadonlyArray<string>) => Effect.Effect<SideData, ConversionError, Disk>
}

export interface Sides {
  readonly left: DiffSide
  readonly right: DiffSide
  readonly notes: ReadonlyArray<string>
}

/** A space under other names; tensors of training state do not count. */
const plainSide = (space: OpenedSpace, rename: (name: string) => string = (name) => name): DiffSide => {
  const own = new Map<string, OpenedTensor>()
  for (const tensor of space.tensors.values()) if (!isTrainingRole(tensor.role)) own.set(rename(tensor.name), tensor)
  return {
    path: space.path,
    tensors: own,
    open: (names) => Effect.map(openTensors(names.map((name) => own.get(name)!)), (data): SideData => ({
      array: (name) => ({ ...data.whole(own.get(name)!), id: name })
    }))
  }
}

/**
 * A Megatron checkpoint and the Hugging Face model `hf`, both under the names of the model and, where that is quantised, with the
 * values that its codes and scales stand for.
 */
const mappedSides = Effect.fnUntraced(function*(families: FamilyRegistry, megatron: OpenedSpace, hf: OpenedSpace) {
  const store = yield* storeInUse
  const config = hf.hfConfig!
  const draft = yield* converting(() =>
    planExport({ family: families.find(config.json), config, weights: hf.hf, checkpoint: megatron.checkpoint! }, { torchDtype: "source", mtp: "keep", allowUnmapped: ["*"] }))
  const original = draft.original!
  const componentOf = componentsIn(hf, families)
  const routed = (tensors: ReadonlyMap<string, Omit<SideTensor, "component">>): ReadonlyMap<string, SideTensor> =>
    new Map(Array.from(tensors, ([name, { dtype, shape }]) => [name, { dtype, shape, component: componentOf(name) }] as const))
  const exported: DiffSide = {
    path: megatron.path,
    tensors: routed(draft.tensors),
    open: () => Effect.map(converting(() => readExportPlan(store, draft)), (plan): SideData => ({ array: (name) => exportArray(plan, plan.tensors.get(name)!) }))
  }
  const source: DiffSide = {
    path: hf.path,
    tensors: routed(original.tensors),
    open: () => Effect.succeed({
      array: (name) => {
        const tensor = original.tensors.get(name)!
        return { id: name, dtype: tensor.dtype, shape: tensor.shape, copies: () => wholeTensor(tensor) }
      }
    })
  }
  return { exported, source, notes: draft.report.notes }
})

/** A directory of `peft` and a Megatron checkpoint with adapters, both under the names of `peft`. */
const adapterSides = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, peft: OpenedSpace, megatron: OpenedSpace) {
  const found = yield* openAdapterSides(families, hfModel, peft.path, megatron.path)
  const componentOf = componentsOf(found.peft.tensors.keys())
  const side = ({ array, path, tensors }: ComparedAdapter): DiffSide => ({
    path,
    tensors: new Map(Array.from(tensors, ([name, { dtype, shape }]) => [name, { dtype, shape, component: componentOf(name) }] as const)),
    open: () => Effect.succeed({ array: (name) => array(name, tensors.get(name)!.dtype) })
  })
  return { peft: side(found.peft), megatron: side(found.megatron), notes: [...found.notes, ...scaleNotes(otherScales(found.peft.scales, found.megatron.scales))] }
})

/** Modules whose change is multiplied otherwise, which no tensor says. */
const scaleNotes = (others: ReadonlyArray<OtherScale>): ReadonlyArray<string> =>
  others.length === 0 ? [] : [`the changes of ${others.length} modules are scaled otherwise (${quote(others[0]!.module)} by ${others[0]!.left} and ${others[0]!.right}): equal matrices are no equal adapters`]

/** Notes on two adapters of one kind. */
const plainScaleNotes = Effect.fnUntraced(function*(a: OpenedSpace, b: OpenedSpace) {
  const [left, right] = [yield* surveyAdapters(a, { norms: false }), yield* surveyAdapters(b, { norms: false })]
  return left && right ? scaleNotes(otherScales(scalesOf(left), scalesOf(right))) : []
})

/** Open two paths and find names that both have. `hfModel`: the base model of adapters of either world. */
export const openSides = Effect.fnUntraced(function*(families: FamilyRegistry, left: string, right: string, hfModel?: string) {
  const [a, b] = [yield* openSpace(left, families), yield* openSpace(right, families)]
  const notes = [...a.notes, ...b.notes]
  if (a.checkpoint && b.hfConfig) {
    const { exported, notes: more, source } = yield* mappedSides(families, a, b)
    return { left: exported, right: source, notes: [...notes, ...more] } as Sides
  }
  if (a.hfConfig && b.checkpoint) {
    const { exported, notes: more, source } = yield* mappedSides(families, b, a)
    return { left: source, right: exported, notes: [...notes, ...more] } as Sides
  }
  const [peft, megatron] = a.checkpoint ? [b, a] : [a, b]
  if (megatron.checkpoint && !peft.checkpoint && (yield* isPeftDirectory(peft.path))) {
    if (hfModel === undefined) return yield* new UsageError({ problem: `${peft.path} is an adapter, whose matrices have their place in a checkpoint by its base model`, hint: "--hf-model BASE beside the two paths; its config.json is enough." })
    const sides = yield* adapterSides(families, hfModel, peft, megatron)
    return { left: peft === a ? sides.peft : sides.megatron, right: peft === a ? sides.megatron : sides.peft, notes: [...notes, ...sides.notes] } as Sides
  }
  notes.push(...(yield* plainScaleNotes(a, b)))
  if (a.form && b.form && a.form !== b.form) {
    const found = [a, b].map((side) => componentsOfCheckpoint(families, side.checkpoint!, side.runConfig)).find((f) => "components" in f && f.components.length > 0)
    if (found && "components" in found) {
      const side = (space: OpenedSpace) => plainSide(space, space.form === "mimo" ? (name) => unroute(found.components, name)?.key ?? name : undefined)
      return { left: side(a), right: side(b), notes: [...notes, "compared under the names of the standard model"] } as Sides
    }
    notes.push("one checkpoint is MIMO, the other standard, and neither says how their names correspond")
  }
  return { left: plainSide(a), right: plainSide(b), notes } as Sides
})
