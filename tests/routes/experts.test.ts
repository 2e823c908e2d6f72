/** How routed experts lie in a checkpoint, by the shapes of its tensors: 2 experts, hidden size 8. */
import { describe, expect, it } from "vitest"
import { expertForm, expertLayout } from "../../routes/shared/experts.ts"
import { noHeaders } from "../../src/space/HfSource.ts"

const headers = (shapes: Readonly<Record<string, ReadonlyArray<number>>>) => ({
  names: Object.keys(shapes),
  tensor: (name: string) => (shapes[name] ? { dtype: "BF16" as const, shape: shapes[name] } : undefined)
})

/** Which of the two packed tensors is transposed. */
const transposed = (ffn: number, gateUp: ReadonlyArray<number>, down: ReadonlyArray<number>) => {
  const packed = headers({ "model.layers.0.mlp.experts.gate_up_proj": gateUp, "model.layers.0.mlp.experts.down_proj": down })
  const form = expertForm(expertLayout(packed), { experts: 2, hidden: 8, ffn }, "packed", true)
  return form.kind === "packed" ? [form.gateUp.transposed, form.down.transposed] : undefined
}

describe("packed experts", () => {
  it("lie as [E, out, in] or [E, in, out], which their shapes show", () => {
    expect(transposed(6, [2, 12, 8], [2, 8, 6])).toEqual([false, false])
    expect(transposed(6, [2, 8, 12], [2, 6, 8])).toEqual([true, true])
  })

  it("stay as they are where a shape fits either way, each tensor by its own", () => {
    expect(transposed(4, [2, 8, 8], [2, 4, 8])).toEqual([false, true])
    expect(transposed(8, [2, 8, 16], [2, 8, 8])).toEqual([true, false])
  })

  it("have gate and up on one axis or on two", () => {
    const packed = headers({ "model.layers.0.mlp.experts.gate_up_proj": [2, 2, 6, 8], "model.layers.0.mlp.experts.down_proj": [2, 8, 6] })
    expect(expertForm(expertLayout(packed), { experts: 2, hidden: 8, ffn: 6 }, "packed"))
      .toEqual({ kind: "packed", gateUp: { experts: 2, transposed: false, apart: true }, down: { experts: 2, transposed: false } })
  })

  it("without tensors lie as the family publishes them", () => {
    expect(expertForm(expertLayout(noHeaders), { experts: 2, hidden: 8, ffn: 6 }, "packed", true))
      .toEqual({ kind: "packed", gateUp: { experts: 2, transposed: true }, down: { experts: 2, transposed: true } })
  })

  it("do not stand beside experts stored one by one", () => {
    const both = headers({ "model.layers.0.mlp.experts.gate_up_proj": [2, 12, 8], "model.layers.1.mlp.experts.0.up_proj.weight": [6, 8] })
    expect(() => expertForm(expertLayout(both), { experts: 2, hidden: 8, ffn: 6 }, "packed")).toThrow("some experts are packed")
  })
})
