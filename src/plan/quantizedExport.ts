/**
 * The last step of planning an export whose original is quantised. So far its tensors are planned as values; here those that have
 * not changed become the original's own codes and scales, and what only makes sense beside codes goes.
 */
import { Effect } from "effect"
import { HF_SOURCE } from "../checkpoint/names.ts"
import type { EngineLimits } from "../engine/index.ts"
import { UsageError } from "../errors.ts"
import { storedArray } from "../space/StoredWeights.ts"
import { wholeTensor } from "../space/TensorSpace.ts"
import { sameShape, volume } from "../tensor/Copy.ts"
import { bytesOf } from "../tensor/DType.ts"
import { commonDtype } from "./dtypes.ts"
import type { Quantization } from "./exportedConfig.ts"
import { exportArray, type ExportPlan, type ExportTensor, storedDtype } from "./ExportDraft.ts"
import { quantizedSummary } from "./quantizedSummary.ts"
import { bytesOfTensors, type LeftBehind } from "./accounting.ts"
import { unequal } from "./unequal.ts"

export interface ComparisonOptions extends EngineLimits {
  readonly progress?: (bytes: number) => void
  /** Called once it is known how many bytes will be compared. */
  readonly onSize?: (bytes: number) => void
}

/** Quantised tensors of the original whose dequantised values the checkpoint still holds, exactly. */
export const unchangedTensors = Effect.fnUntraced(function*(plan: ExportPlan, { onSize, progress, ...engine }: ComparisonOptions) {
  const { original } = plan
  if (!original || original.quantized.size === 0) {
    return yield* new UsageError({
      problem: "--restore-quantized: --hf-model holds no quantised tensors",
      hint: "It names the directory of the quantised model that the checkpoint was made from."
    })
  }
  const comparable = [...original.quantized.values()].flatMap(({ name, shape }) => {
    const tensor = plan.tensors.get(name)
    // As wide as what is stored, so that nothing is rounded to equality.
    return tensor && sameShape(tensor.shape, shape) ? [{ tensor, dtype: commonDtype(storedDtype(tensor) ?? tensor.dtype, "BF16", name) }] : []
  })
  const bytes = new Map(comparable.map(({ dtype, tensor }) => [tensor.name, volume(tensor.shape) * bytesOf(dtype)]))
  onSize?.([...bytes.values()].reduce((sum, n) => sum + n, 0))
  const comparisons = Iterator.from(comparable).map(({ dtype, tensor }) => ({
    array: { ...exportArray(plan, tensor), dtype },
    with: { id: tensor.name, dtype, shape: tensor.shape, copies: () => wholeTensor(original.tensors.get(tensor.name)!) }
  }))
  const changed = yield* unequal("quantised tensors", comparisons, engine, (id) => progress?.(bytes.get(id)!))
  return new Set(comparable.map(({ tensor }) => tensor.name).filter((name) => !changed.has(name)))
})

const moduleOf = (name: string): string => (name.endsWith(".weight") ? name.slice(0, -".weight".length) : name)

/** The plan with the codes and scales of the `unchanged` tensors, and what config.json must say of quantisation. */
export const withQuantized = (plan: ExportPlan, unchanged: ReadonlySet<string>): { readonly plan: ExportPlan; readonly quantization: Quantization } => {
  const { original } = plan
  // Without weights at hand nothing is written quantised, whatever config.json says.
  if (!original) return { plan, quantization: "remove" }
  if (original.quantized.size === 0) return { plan, quantization: "keep" }
  const stored = (name: string): ExportTensor => {
    const { dtype, shape } = original.stored.tensors.get(name)!
    return { name, dtype, shape, from: { kind: "stored", array: storedArray(original.stored, name) } }
  }
  const tensors = new Map<string, ExportTensor>()
  const leftBehind: Array<LeftBehind> = []
  const dropped = new Set<string>()
  for (const [name, tensor] of plan.tensors) {
    const quantized = original.quantized.get(name)
    const owner = original.activationScales.get(name)
    if (quantized && unchanged.has(name)) for (const member of quantized.members) tensors.set(member, stored(member))
    else if (owner === undefined) tensors.set(name, tensor)
    else if (unchanged.has(owner)) tensors.set(name, stored(name))
    else {
      dropped.add(name)
      if (tensor.from.kind !== "values") leftBehind.push({ tensor: HF_SOURCE + name, bytes: bytesOfTensors([tensor]), reason: "scales activations; its weight is written as values" })
    }
  }
  const exported = [...original.quantized.keys()].filter((name) => plan.tensors.has(name))
  const asValues = exported.filter((name) => !unchanged.has(name))
  return {
    plan: {
      ...plan,
      tensors,
      report: {
        ...plan.report,
        targetTensors: tensors.size,
        targetBytes: bytesOfTensors(tensors.values()),
        leftBehind: [...plan.report.leftBehind, ...leftBehind],
        dtypeChanges: plan.report.dtypeChanges.filter((change) => !unchanged.has(change.tensor)),
        carried: plan.report.carried.filter((name) => !dropped.has(name)),
        carriedBecause: plan.report.carriedBecause.flatMap(({ tensors, why }) => {
          const rest = tensors.filter((name) => !dropped.has(name))
          return rest.length > 0 ? [{ why, tensors: rest }] : []
        }),
        ...quantizedSummary(original, (name) => !plan.tensors.has(name) ? undefined : unchanged.has(name) ? "restored" : "dequantized")
      }
    },
    quantization: asValues.length === 0 ? "keep" : unchanged.size === 0 ? "remove" : { except: asValues.map(moduleOf) }
  }
}
