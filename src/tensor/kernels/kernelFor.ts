/** Which kernel a copy needs. */
import type { DType } from "../DType.ts"
import type { Transform } from "../Transform.ts"
import { addKernel } from "./add.ts"
import { castKernel } from "./cast.ts"
import { dequantizeKernel } from "./dequantize.ts"
import { fillKernel } from "./fill.ts"
import type { Kernel } from "./Kernel.ts"
import { meanKernel } from "./mean.ts"
import { restoreKernel } from "./restore.ts"

/** What a kernel is chosen by. Plain data: two threads with the same memory find the same kernel. */
export interface KernelStep {
  readonly source: DType
  readonly target: DType
  readonly transform?: Transform
  readonly operands: ReadonlyArray<DType>
}

const known = new Map<string, Kernel>()

/** The kernel of a step that has one. */
export const kernelOf = (step: KernelStep): Kernel => {
  const id = JSON.stringify(step)
  let kernel = known.get(id)
  if (kernel === undefined) {
    const found = kernelFor(step.source, step.target, step.transform, step.operands)
    if (found === undefined || found === "move") throw new RangeError(`no kernel for ${id}`)
    known.set(id, kernel = found)
  }
  return kernel
}

/** `"move"`: bits travel as they are. Undefined: there is no such kernel. */
export const kernelFor = (
  source: DType,
  target: DType,
  transform: Transform | undefined,
  operands: ReadonlyArray<DType>
): Kernel | "move" | undefined => {
  if (transform === undefined) return source === target ? "move" : castKernel(source, target)
  switch (transform.kind) {
    case "fill":
      return fillKernel(transform.value, target)
    case "add":
      return addKernel(transform.constant, source, target)
    case "mean":
      return meanKernel(transform, [source, ...operands], target)
    case "restore":
      return operands[0] && restoreKernel(transform, source, target, operands[0])
    case "dequantize":
      return operands[0] && dequantizeKernel(transform, source, target, operands[0])
  }
}
