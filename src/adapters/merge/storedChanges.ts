/**
 * A merge into the tensors of a Megatron checkpoint as they are stored: any box of one holds boxes of parameters, one behind the other, each
 * changed as the HF matrices that it is made of would be. What is stored beside the model is HF tensors, and is changed as those.
 */
import { Effect } from "effect"
import { ChunkSelection } from "../../checkpoint/ChunkSelection.ts"
import { rowsOf, storedBox } from "../../checkpoint/LocatedPart.ts"
import { readChunks, type StoredArrays } from "../../checkpoint/StoredArrays.ts"
import type { TargetArray } from "../../engine/index.ts"
import { converting } from "../../io/attempt.ts"
import { locateParameters, originsOf } from "../../plan/located.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import type { Checkpoint } from "../../space/Checkpoint.ts"
import { type Box, sameShape, stridesOf } from "../../tensor/Copy.ts"
import type { StoredTensor } from "../../torch/DcpMetadata.ts"
import { isLinearWeight } from "../factors.ts"
import { changingBoxes, isChanged, type ParameterBox, type PlacedBox } from "./changedChunk.ts"
import { changing } from "./changes.ts"
import { type Merging, requireChangedTensors } from "./merging.ts"

/** A box of a parameter, and where it lies in a stored tensor. */
interface StoredParameterBox extends ParameterBox {
  readonly stored: Box
}

/** Boxes of parameters by where they lie on the leading axes of a stored tensor: of a layer, or one of its experts, there are few. */
class StoredBoxes {
  readonly #boxes = new Map<string, Array<StoredParameterBox>>()
  readonly #lead: number

  constructor(lead: number) {
    this.#lead = lead
  }

  add(box: StoredParameterBox): void {
    const at = box.stored.offsets.slice(0, this.#lead).join()
    const known = this.#boxes.get(at)
    if (known) known.push(box)
    else this.#boxes.set(at, [box])
  }

  /** What of them lies in a box of the stored tensor, placed in an array of that box. */
  within(box: Box): ReadonlyArray<PlacedBox> {
    const strides = stridesOf(box.sizes)
    const found: Array<PlacedBox> = []
    const visit = (at: ReadonlyArray<number>): void => {
      const axis = at.length
      if (axis < this.#lead) for (let i = 0; i < box.sizes[axis]!; i++) visit([...at, box.offsets[axis]! + i])
      else for (const own of this.#boxes.get(at.join()) ?? []) found.push(...this.#cut(own, box, strides))
    }
    visit([])
    return found
  }

  #cut({ box: own, of, stored }: StoredParameterBox, box: Box, strides: ReadonlyArray<number>): ReadonlyArray<PlacedBox> {
    const offsets = box.offsets.map((low, k) => Math.max(low, stored.offsets[k]!))
    const sizes = offsets.map((low, k) => Math.min(box.offsets[k]! + box.sizes[k]!, stored.offsets[k]! + stored.sizes[k]!) - low)
    if (sizes.some((size) => size <= 0)) return []
    return [{
      of,
      box: { offsets: own.offsets.map((low, k) => low + offsets[k + this.#lead]! - stored.offsets[k + this.#lead]!), sizes: sizes.slice(this.#lead) },
      start: offsets.reduce((sum, low, k) => sum + (low - box.offsets[k]!) * strides[k]!, 0)
    }]
  }
}

/** What of a checkpoint the adapters change: parameters where they are stored, and HF tensors that travel beside the model. */
const touched = ({ base, changes }: Merging, checkpoint: Checkpoint) => {
  const { located } = locateParameters(base.as(checkpoint.form).conversion.parameters.filter((bound) => isLinearWeight(bound) && isChanged(bound, changes)), checkpoint)
  const origins = originsOf(located)
  requireChangedTensors(changes, (name) => origins.has(name) || checkpoint.kept.has(name), checkpoint.directory)
  const selection = new ChunkSelection(checkpoint.directory)
  const boxes = new Map<StoredTensor, StoredBoxes>()
  for (const { bound: of, parts } of located) {
    selection.addParts(of.parameter.shape, parts)
    for (const { part, tensor } of parts) {
      const box = rowsOf(of.parameter.shape, part)
      const own = boxes.get(tensor) ?? new StoredBoxes(part.shape.length - box.sizes.length)
      boxes.set(tensor, own)
      own.add({ of, box, stored: storedBox(part, box) })
    }
  }
  const kept = new Map<StoredTensor, string>()
  for (const [name, { place: { stored } }] of checkpoint.kept) {
    if (!changes.has(name)) continue
    kept.set(stored, name)
    selection.add(name, stored)
  }
  return { boxes, kept, origins, selection }
}

/** An HF tensor of a checkpoint, as an array. */
const hfArray = (stored: StoredArrays, { kept, origins }: Pick<ReturnType<typeof touched>, "kept" | "origins">) => {
  const besides = new Map(Array.from(kept, ([tensor, name]) => [name, tensor]))
  return (id: string): TargetArray => {
    const origin = origins.get(id)
    if (!origin) {
      const tensor = besides.get(id)!
      return { id, dtype: tensor.dtype, shape: tensor.shape, copies: () => stored.whole(tensor, id) }
    }
    const { parameters, stored: dtype } = origin
    return { id, dtype, shape: parameters[0]!.bound.tensors.find(({ name }) => name === id)!.shape, copies: () => parameters.flatMap((parameter) => stored.toHf(parameter, id)) }
  }
}

/** What becomes of the tensors of a checkpoint. InvalidFile `adapter/module` for one that an adapter is for and the checkpoint does not hold. */
export const storedChanges = Effect.fnUntraced(function*(merging: Merging, checkpoint: Checkpoint) {
  const store = yield* storeInUse
  const { changes } = merging
  const { boxes, kept, origins, selection } = yield* converting(() => touched(merging, checkpoint))
  const stored = yield* converting(() => readChunks(store, selection))
  const how = yield* changing(changes, hfArray(stored, { kept, origins }))
  const changed = changingBoxes({ ...how, changes, dtypeOf: (tensor) => origins.get(tensor)!.stored })
  return {
    driver: how.driver,
    tensors: boxes.size + kept.size,
    has: (tensor: StoredTensor) => boxes.has(tensor) || kept.has(tensor),
    changed: (array: TargetArray, tensor: StoredTensor, box: Box): TargetArray => {
      const name = kept.get(tensor)
      if (name === undefined) return changed(array, () => boxes.get(tensor)!.within(box))
      if (!sameShape(box.sizes, tensor.shape)) throw new RangeError(`${name}: what travels beside the model is not cut`)
      return how.changed(array, name)
    }
  }
})
