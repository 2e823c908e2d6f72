/** Multi-token prediction in a plan, the same in both directions: which HF tensors it is, and the model without it. */
import { bind, type Conversion, type ConversionModule } from "../bridge/Conversion.ts"
import { PlanRefused } from "../errors.ts"
import { withoutMtp } from "./describe.ts"

export const mtpNamesOf = ({ hf }: Conversion): ReadonlyArray<string> => Iterator.from(hf.values()).filter((t) => t.mtp).map((t) => t.name).toArray()

/** `--mtp require` cannot be met. */
export const mtpRequired = (problem: string, more: { readonly names?: ReadonlyArray<string>; readonly hint?: string } = {}): PlanRefused =>
  new PlanRefused({ code: "plan/mtp-required", problem: `--mtp require: ${problem}`, ...more })

export const NO_MTP_LAYERS = "by config.json the model has no multi-token-prediction layers"

export const boundWithoutMtp = (modules: ReadonlyArray<ConversionModule>): { readonly modules: ReadonlyArray<ConversionModule>; readonly conversion: Conversion } => {
  const kept = modules.map((m) => ({ ...m, entries: withoutMtp(m.entries) }))
  return { modules: kept, conversion: bind(kept) }
}
