/** What a trainer has no place for travels along: multi-token prediction of models that it builds without. */
import { expect, it } from "vitest"
import { exportOf, importOf } from "./inMemory.ts"
import { toys } from "./toys.ts"

it.each(["mtp.layers.0.eh_proj.weight", "language_model.model.mtp.0.enorm.weight"])("MiniMax-M3's %s comes back", (name) => {
  const toy = toys.find((t) => t.name === "minimax-m3-a")!
  const more = { ...toy, tensors: [...toy.tensors, { name, dtype: "BF16" as const, shape: [4, 8], file: toy.tensors[0]!.file }] }
  const plan = importOf(more)
  expect(plan.report.carried).toContain(name)
  expect(exportOf(more, plan).tensors.get(name)).toMatchObject({ dtype: "BF16", shape: [4, 8] })
})

it("a tensor that only looks like it is still refused", () => {
  const toy = toys.find((t) => t.name === "minimax-m3-a")!
  const more = [...toy.tensors, { name: "language_model.model.mtp_layers.0.enorm.weight", dtype: "BF16" as const, shape: [4], file: toy.tensors[0]!.file }]
  expect(() => importOf(toy, "standard", more)).toThrow("language_model.model.mtp_layers.0.enorm.weight")
})
