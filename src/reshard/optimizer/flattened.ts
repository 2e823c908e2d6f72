/**
 * Optimizer state in flat fragments (`fully_sharded_model_space`, Megatron-Core up to 0.15; later ones refuse it), put into the shape of its
 * model tensors: every fragment of a tensor is flattened, and cut anywhere (training-checkpoints.md 2.4). Pure.
 */
import { FormatError } from "../../errors.ts"
import { modelKeyOf, unwrapKey } from "../../model/storedKey.ts"
import type { ItemsPlace, SpaceTensor } from "../../space/TensorSpace.ts"
import { type Shape, stridesOf, volume } from "../../tensor/Copy.ts"
import type { Content } from "../Contents.ts"
import type { KeyFacts } from "../keyFacts.ts"
import { type FlatPiece, FlatPieces } from "./flatContent.ts"

/** Fragments of one tensor: layers, experts and ranks multiply, but not to more than this. */
const MOST_FRAGMENTS = 4_000_000

const refuse = (key: string, problem: string): never => {
  throw new FormatError("checkpoint/flattened", problem, { tensor: key })
}

/** The fragments of a flat tensor as pieces of one of `shape`, of which `lead` axes are not cut. */
export const fragments = (tensor: SpaceTensor<ItemsPlace>, shape: Shape, lead: number): ReadonlyArray<FlatPiece> => {
  const { name: key, shape: flat } = tensor
  const own = shape.slice(lead)
  if (flat.length !== shape.length + 1) return refuse(key, `has ${flat.length} axes, where flat fragments of [${shape}] have ${shape.length + 1}`)
  const counts = flat.slice(0, -1)
  const local = own.map((extent, axis) => extent / (counts[lead + axis] ?? 0))
  const fits = counts.slice(0, lead).every((n, axis) => n === shape[axis]) && local.every((n) => Number.isInteger(n) && n > 0) && volume(local) === flat.at(-1)
  if (!fits || volume(counts) > MOST_FRAGMENTS) return refuse(key, `[${flat}] are no flat fragments of [${shape}]`)
  const strides = stridesOf(counts)
  return Array.from({ length: volume(counts) }, (_, i): FlatPiece => {
    const at = strides.map((stride, axis) => Math.floor(i / stride) % counts[axis]!)
    return {
      offsets: at.map((index, axis) => (axis < lead ? index : index * local[axis - lead]!)),
      sizes: [...at.slice(0, lead).map(() => 1), ...local],
      tensor,
      start: i * flat.at(-1)!
    }
  })
}

/** A state of a model tensor, out of its flat fragments. FormatError `checkpoint/flattened` for a shape that is none of such fragments. */
export const flattenedContent = (tensor: SpaceTensor<ItemsPlace>, component: string, models: ReadonlyMap<string, SpaceTensor<ItemsPlace>>, facts: KeyFacts): Content => {
  const { name: key } = tensor
  const own = modelKeyOf(key)
  const model = own && unwrapKey(own.key)
  const shape = model === undefined ? undefined : models.get(model)?.shape
  if (!own || model === undefined || !shape) return refuse(key, "belongs to no tensor of the model")
  const rule = facts.ruleOf(model)
  const pieces = new FlatPieces(fragments(tensor, shape, (rule.layers === undefined ? 0 : 1) + (rule.experts === undefined ? 0 : 1)), shape)
  return {
    key: own.space.replace(/chained_\d+\./, "").replace("optimizer.state.fp32_param.", "optimizer.state.param.") + own.key,
    model,
    component,
    dtype: tensor.dtype,
    shape,
    reads: [tensor],
    copies: (arrays, box, target) => pieces.copies(arrays, box, target)
  }
}
