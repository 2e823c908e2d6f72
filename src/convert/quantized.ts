/** Quantised tensors in plans: below the mapping, above the engine. Pure. */
import type { TargetArray, TargetFile } from "../engine/Target.ts"
import { atPath } from "../document/decode.ts"
import { FormatError } from "../errors.ts"
import { type LogicalTensors, logicalTensors } from "../quantized/LogicalTensors.ts"
import type { HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import type { Copy, Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { fileOf, type HfConfig } from "./HfSource.ts"
import type { ConversionReport, QuantizedSummary } from "./Report.ts"

/** The tensors of a model as if none were quantised. InvalidFile `quantized/…`, of config.json where that is at fault. */
export const logicalOf = (tensors: HfTensors, config: HfConfig): LogicalTensors => {
  try {
    return logicalTensors(tensors, config.json)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    const { field, tensor } = error.place
    if (field !== undefined) return atPath(config.path, () => { throw error }, config.bytes)
    const shard = tensor === undefined ? undefined : tensors.shards[tensors.tensors.get(tensor)?.shard ?? -1]
    return atPath(shard?.path ?? fileOf(tensors), () => { throw error }, shard?.headerBytes)
  }
}

/** An array whose copies are rewritten when asked for, and not kept, like those that it is made from. */
class DequantizedArray implements TargetArray {
  readonly id: string
  readonly dtype: DType
  readonly shape: Shape
  readonly #array: TargetArray
  readonly #logical: LogicalTensors

  constructor(array: TargetArray, logical: LogicalTensors) {
    this.id = array.id
    this.dtype = array.dtype
    this.shape = array.shape
    this.#array = array
    this.#logical = logical
  }

  get copies(): ReadonlyArray<Copy> {
    return this.#array.copies.flatMap((copy) => this.#logical.read(copy))
  }
}

/** The files with every copy from a quantised tensor reading its codes and scales. */
export const dequantizing = (files: ReadonlyArray<TargetFile>, logical: LogicalTensors): ReadonlyArray<TargetFile> =>
  logical.quantized.size === 0 ? files : files.map((file) => ({
    ...file,
    segments: file.segments.map((segment) =>
      segment.kind === "array"
        ? { ...segment, array: new DequantizedArray(segment.array, logical) }
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
