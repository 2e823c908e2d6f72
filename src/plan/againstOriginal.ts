/**
 * An export beside the weights of the original model. They decide names of files, order and dtypes, so they must be what
 * config.json says; a directory without weights is the way to export by a config alone.
 */
import type { Conversion, ConversionModule } from "../bridge/Conversion.ts"
import type { Carried } from "../bridge/Family.ts"
import type { ExpectedTensor } from "../bridge/Mapping.ts"
import { account, ALLOWED, type LeftBehind } from "./accounting.ts"
import type { HfWeights } from "../space/HfWeights.ts"
import { sameShape } from "../tensor/Copy.ts"
import { type DType, isFloat } from "../tensor/DType.ts"
import { commonDtype } from "./dtypes.ts"
import { fileOf, fileSpotOf, spotOf } from "../space/StoredWeights.ts"
import type { Located, TensorOrigin } from "./located.ts"
import { expectedBeside, refuseUnmapped, requireTensors } from "./match.ts"

/**
 * PlanRefused if the original lacks tensors of the model (but for multi-token prediction) or has them in other shapes.
 * `carried`: the family's rules; `added`: what training may have added; `vocabSize`: rows of the exported vocabulary, if the user
 * chose them.
 */
export const requireOriginal = (
  original: HfWeights,
  { hf }: Conversion,
  carried: ReadonlyArray<Carried>,
  { added, vocabSize }: { readonly added: (name: string) => boolean; readonly vocabSize?: number }
): void => {
  const { tensors } = original
  // Its tables keep the rows they have where the export was told to have others.
  const resized = ({ name, shape }: ExpectedTensor): boolean =>
    vocabSize !== undefined && shape[0] === vocabSize && sameShape(tensors.get(name)?.shape.with(0, vocabSize) ?? [], shape)
  requireTensors(
    [...[...hf.values()].filter((t) => tensors.has(t.name) || !(t.mtp || added(t.name))), ...expectedBeside(carried, hf, (n) => tensors.has(n))].filter((t) => !resized(t)),
    tensors,
    fileOf(original.stored),
    ({ name }) => fileSpotOf(original.stored, name)
  )
}

/** Tensors of the original that the export does not have, left behind because that is allowed; otherwise PlanRefused. */
export const notExported = (
  original: HfWeights,
  accounted: (name: string) => boolean,
  allowed: (name: string) => boolean,
  modules: ReadonlyArray<ConversionModule>
): ReadonlyArray<LeftBehind> => {
  const unused = original.tensors.values().filter((t) => !accounted(t.name))
  const { leftBehind, unmapped } = account(unused, (name) => (allowed(name) ? `of --hf-model, ${ALLOWED}` : undefined))
  refuseUnmapped(unmapped, modules.map((m) => m.registry), (names) => spotOf(original.stored, names))
  return leftBehind
}

/**
 * Tensors of several dtypes that are stored as one had to be widened to the narrowest that holds them all. Where the checkpoint
 * has exactly that dtype, each goes back to its own: untouched values come back bit for bit, and trained ones are values of a
 * model that has them in that dtype. Returned are the dtypes that are not the stored ones.
 */
export const unwidened = (located: ReadonlyArray<Located>, origins: ReadonlyMap<string, TensorOrigin>, original: HfWeights): ReadonlyMap<string, DType> => {
  const widened = new Map<string, DType | undefined>()
  const own = ({ name }: ExpectedTensor): DType | undefined => {
    const found = original.tensors.get(name)
    return found?.place.kind === "range" && isFloat(found.dtype) ? found.dtype : undefined
  }
  for (const { bound, parts } of located) {
    const dtypes = bound.tensors.map(own)
    for (const { part } of parts) {
      for (const [i, dtype] of dtypes.entries()) {
        const known = widened.has(part.key) ? widened.get(part.key) : dtype
        widened.set(part.key, known && dtype && commonDtype(known, dtype, bound.tensors[i]!.name))
      }
    }
  }
  const out = new Map<string, DType>()
  for (const { bound, parts } of located) {
    if (bound.copies.some((copy) => copy.transform) || !parts.every(({ part, tensor }) => widened.get(part.key) === tensor.dtype)) continue
    for (const tensor of bound.tensors) {
      const dtype = own(tensor)
      if (dtype && dtype !== origins.get(tensor.name)!.stored) out.set(tensor.name, dtype)
    }
  }
  return out
}
