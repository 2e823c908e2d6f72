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

it("what was carried for a model of another spelling is named when it stays behind", () => {
  const toy = toys.find((t) => t.name === "mistral-a")!
  const name = "model.layers.0.self_attn.rotary_emb.inv_freq"
  const plan = importOf({ ...toy, tensors: [...toy.tensors, { name, dtype: "F32" as const, shape: [8], file: toy.tensors[0]!.file }] })
  const kept = plan.checkpoint.metadata.tensors.get(`hf_source.${name}`)!
  const tensors = new Map([...plan.checkpoint.metadata.tensors, ["hf_source.transformer.h.0.attn.inv_freq", kept]])
  const foreign = { ...plan, checkpoint: { ...plan.checkpoint, metadata: { ...plan.checkpoint.metadata, tensors } } }
  expect(exportOf(toy, foreign).report.notes.join("\n")).toContain("1 tensor that the checkpoint carries beside the model has no place in the model of --hf-model and is not written: transformer.h.0.attn.inv_freq")
  expect(exportOf(toy, plan).report.notes.join("\n")).not.toContain("no place in the model")
})
