/** The dtypes that an import stores, and what they change. Pure. */
import type { Conversion } from "../bridge/Conversion.ts"
import type { KeptTensor } from "../checkpoint/CheckpointFiles.ts"
import type { HfWeights } from "../space/HfWeights.ts"
import { copiesFrom } from "../space/TensorSpace.ts"
import { type DType, isFloat } from "../tensor/DType.ts"
import { commonDtype, refuseSubByte } from "./dtypes.ts"
import type { DtypeChange } from "./Report.ts"

/** The dtype of every stored tensor: the cast asked for, else what holds all of its sources exactly. */
export const storedDtypes = (
  { parameters }: Conversion,
  { tensors }: HfWeights,
  cast: DType | undefined,
  file: Parameters<typeof refuseSubByte>[2]
): ReadonlyMap<string, DType> => {
  const dtypes = new Map<string, DType>()
  for (const { copies, module, parameter } of parameters) {
    const own = copies.map((c) => tensors.get(c.source.tensor)!)
    for (const part of parameter.parts) {
      const key = module.keyPrefix + part.key
      for (const { dtype, name } of own) {
        refuseSubByte(dtype, name, file)
        const wanted = cast && isFloat(dtype) ? parameter.keep ?? cast : dtype
        const known = dtypes.get(key)
        dtypes.set(key, known ? commonDtype(known, wanted, name, file) : wanted)
      }
    }
  }
  return dtypes
}

/**
 * What changes its dtype, one entry per source; and sources whose values arithmetic rounds, although their dtype stays: the
 * originals travel along.
 */
export const dtypeChanges = ({ parameters }: Conversion, logical: HfWeights, dtypes: ReadonlyMap<string, DType>) => {
  const changes = new Map<string, DtypeChange>()
  const rounded = new Map<string, KeptTensor>()
  for (const { copies, module, parameter } of parameters) {
    for (const copy of copies) {
      if (copy.echo) continue
      const from = logical.tensors.get(copy.source.tensor)!
      // Refuses what cannot be read, before anything is written.
      if (copy.transform && from.place.kind === "codes") copiesFrom(from, copy)
      const to = dtypes.get(module.keyPrefix + parameter.parts[0]!.key)!
      if (from.dtype !== to) {
        changes.set(from.name, { tensor: from.name, from: from.dtype, to, storedAs: parameter.parts.map((part) => module.keyPrefix + part.key) })
      } else if (copy.transform) rounded.set(from.name, { name: from.name, dtype: from.dtype, shape: from.shape })
    }
  }
  return { changes: [...changes.values()], rounded: [...rounded.values()] }
}
