/** Parameters that a trainer keeps in a dtype of their own, whatever the model's. */
import type { DType } from "../tensor/DType.ts"
import type { Model } from "./Parameter.ts"

export const keepIn = (model: Model, dtype: DType, names: RegExp): Model =>
  model.map((entry) => (entry.kind === "parameter" && names.test(entry.name) ? { ...entry, keep: dtype } : entry))
