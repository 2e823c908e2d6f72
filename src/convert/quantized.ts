/** Quantised tensors in plans: below the mapping, above the engine. Pure. */
import type { TargetFile } from "../engine/Target.ts"
import { FormatError, invalidFile } from "../errors.ts"
import { type LogicalTensors, logicalTensors } from "../quantized/LogicalTensors.ts"
import type { HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import type { HfConfig } from "./HfSource.ts"
import type { ConversionReport, QuantizedSummary } from "./Report.ts"

/** The tensors of a model as if none were quantised. InvalidFile `quantized/…`, of config.json where that is at fault. */
export const logicalOf = (tensors: HfTensors, config: HfConfig): LogicalTensors => {
  try {
    return logicalTensors(tensors, config.json)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw invalidFile(error.place.field === undefined ? tensors.directory : config.path, error)
  }
}

/** The files with every copy from a quantised tensor reading its codes and scales. */
export const dequantizing = (files: ReadonlyArray<TargetFile>, logical: LogicalTensors): ReadonlyArray<TargetFile> =>
  logical.quantized.size === 0 ? files : files.map((file) => ({
    ...file,
    segments: file.segments.map((segment) =>
      segment.kind === "array"
        ? { ...segment, array: { ...segment.array, copies: segment.array.copies.flatMap((copy) => logical.read(copy)) } }
        : segment)
  }))

/** The report's section; `fate` says how a quantised tensor is written, if at all. */
export const quantizedSummary = (
  { quantized }: LogicalTensors,
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
