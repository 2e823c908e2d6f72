/**
 * Adapters to be compared: those of a Megatron checkpoint under the names of `peft`, those of a directory of `peft` under the names that it
 * would have today, and by how much the change of each module is multiplied, which no tensor says.
 */
import { Effect } from "effect"
import type { TargetArray } from "../engine/index.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { converting } from "../io/attempt.ts"
import { openCheckpoint } from "../space/Checkpoint.ts"
import { type RangePlace, type SpaceTensor, wholeTensor } from "../space/TensorSpace.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { openBase } from "./BaseModel.ts"
import { bindPeft, matricesOf } from "./bindPeft.ts"
import { adapterArray } from "./exportDraft.ts"
import { inputAxisOf } from "./inputAxis.ts"
import { openPeft } from "./PeftDirectory.ts"
import { PREFIX } from "./peftPair.ts"
import { adaptersOf } from "./prepareExport.ts"
import type { AdapterFacts } from "./survey/AdapterFacts.ts"

/** One side of a comparison. */
export interface ComparedAdapter {
  readonly path: string
  readonly tensors: ReadonlyMap<string, { readonly dtype: DType; readonly shape: Shape }>
  /** The array of one of its tensors, in a dtype that holds it. */
  readonly array: (name: string, dtype: DType) => TargetArray
  /** By HF tensor. */
  readonly scales: ReadonlyMap<string, number>
}

const ENDINGS = { a: "lora_A.weight", b: "lora_B.weight", magnitude: "lora_magnitude_vector" } as const

/** A directory of `peft` and a Megatron checkpoint with adapters, both of the base model `hfModel`. */
export const openAdapterSides = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, peftPath: string, megatronPath: string) {
  const base = yield* openBase(families, hfModel)
  const peft = yield* openPeft(peftPath)
  const checkpoint = yield* openCheckpoint(megatronPath)
  const { conversion: { parameters } } = base.as("standard")
  const bound = yield* converting(() => bindPeft(peft, matricesOf(parameters), inputAxisOf(parameters, "last")))
  const tensors = new Map<string, SpaceTensor<RangePlace>>()
  for (const [module, matrices] of peft.modules) {
    for (const side of ["a", "b", "magnitude"] as const) {
      const tensor = matrices[side]
      if (tensor) tensors.set(`${PREFIX}${module}.${ENDINGS[side]}`, tensor)
    }
  }
  // Where nothing says alpha, tensors are compared all the same.
  const exported = yield* adaptersOf(base, checkpoint, { torchDtype: "source", exclude: [], allowUnmapped: [], inputAxis: "last", sharedOuter: "repeat" }).pipe(
    Effect.map((own) => ({ ...own, isScaled: true })),
    Effect.catchIf((error) => error.code === "usage/alpha", () => Effect.map(adaptersOf(base, checkpoint, { torchDtype: "source", alpha: peft.config.alpha, exclude: [], allowUnmapped: [], inputAxis: "last" }), (own) => ({ ...own, isScaled: false })))
  )
  const { draft, isScaled, notes, settings: { alpha }, stored } = exported
  const peftSide: ComparedAdapter = {
    path: peft.directory,
    tensors,
    array: (name, dtype) => ({ id: name, dtype, shape: tensors.get(name)!.shape, copies: () => wholeTensor(tensors.get(name)!, name) }),
    scales: new Map(Array.from(bound.values(), ({ scale, tensor }) => [tensor, scale]))
  }
  const megatronSide: ComparedAdapter = {
    path: checkpoint.directory,
    tensors: draft.tensors,
    array: (name, dtype) => adapterArray(stored, { ...draft.tensors.get(name)!, dtype }),
    scales: new Map(isScaled ? draft.targets.map(({ storedRank, tensor, times }) => [tensor, (alpha * times) / storedRank]) : [])
  }
  return { peft: peftSide, megatron: megatronSide, notes: [...notes, ...(isScaled ? [] : ["nothing says the alpha of the checkpoint's adapters: the scales of their changes are not compared"])] }
})

/** A module whose change is scaled otherwise on the other side. */
export interface OtherScale {
  readonly module: string
  readonly left: number
  readonly right: number
}

/** Scales that differ by more than their last digits. */
export const otherScales = (left: ReadonlyMap<string, number>, right: ReadonlyMap<string, number>): ReadonlyArray<OtherScale> =>
  [...left].flatMap(([module, own]): ReadonlyArray<OtherScale> => {
    const other = right.get(module)
    return other === undefined || Math.abs(own - other) <= 1e-6 * Math.abs(own) ? [] : [{ module, left: own, right: other }]
  })

/** Scales by module, of two sides of one kind. */
export const scalesOf = ({ modules }: AdapterFacts): ReadonlyMap<string, number> =>
  new Map(modules.flatMap(({ module, scale, slot }) => (scale === undefined ? [] : [[slot === undefined ? module : `${module}.${slot}`, scale] as const])))
