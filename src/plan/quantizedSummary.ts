/** What a report says of quantised tensors. */
import type { HfWeights } from "../space/HfWeights.ts"
import type { ConversionReport, QuantizedSummary } from "./Report.ts"

/** The report's section; `fate` says how a quantised tensor is written, if at all. */
export const quantizedSummary = (
  { quantized }: HfWeights,
  fate: (name: string) => "dequantized" | "restored" | undefined
): Pick<ConversionReport, "quantized"> => {
  if (quantized.size === 0) return {}
  const forms = new Map<string, number>()
  const names: Record<"dequantized" | "restored", Array<string>> = { dequantized: [], restored: [] }
  for (const { form, name } of quantized.values()) {
    forms.set(form, (forms.get(form) ?? 0) + 1)
    const list = fate(name)
    if (list) names[list].push(name)
  }
  const summary: QuantizedSummary = { forms: [...forms].map(([form, tensors]) => ({ form, tensors })), ...names }
  return { quantized: summary }
}
