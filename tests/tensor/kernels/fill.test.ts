import { expect, it } from "vitest"
import type { DType } from "../../../src/tensor/DType.ts"
import { kernelFor } from "../../../src/tensor/kernels/kernelFor.ts"
import { memoryWith } from "../../../src/tensor/kernels/Memory.ts"

const filled = (value: number, target: DType, width: number): string => {
  const m = memoryWith(64)
  m.u8.fill(0xee)
  const kernel = kernelFor("U8", target, { kind: "fill", value }, [])
  if (kernel === undefined || kernel === "move") throw new Error("no kernel")
  expect(kernel.apply(m, { source: 0, operands: [], out: 16, count: 2, run: 1, temporary: 32 })).toBe(0)
  return Buffer.from(m.u8.subarray(16, 16 + 3 * width)).toString("hex")
}

it("a constant is written in the target's dtype, whatever the source holds", () => {
  expect(filled(0, "BF16", 2)).toBe("00000000eeee")
  expect(filled(1, "BF16", 2)).toBe("803f803feeee")
  expect(filled(1, "F16", 2)).toBe("003c003ceeee")
  expect(filled(1, "F32", 4)).toBe("0000803f0000803feeeeeeee")
})

it("integers are not filled", () => {
  expect(kernelFor("BF16", "I64", { kind: "fill", value: 0 }, [])).toBeUndefined()
})
