/** Packed experts with gate and up on an axis of their own: the same bytes, the same checkpoint. */
import { expect, it } from "vitest"
import { exportOf, importOf } from "./inMemory.ts"
import { toys } from "./toys.ts"

it.each(["qwen3.5-moe-text-packed-a", "glm-4.5v-packed"])("%s", (name) => {
  const toy = toys.find((t) => t.name === name)!
  const apart = {
    ...toy,
    tensors: toy.tensors.map((t) => (t.name.endsWith(".gate_up_proj") ? { ...t, shape: [t.shape[0]!, 2, t.shape[1]! / 2, t.shape[2]!] } : t))
  }
  const [plan, reference] = [importOf(apart), importOf(toy)]
  expect(plan.checkpoint.metadata.tensors).toEqual(reference.checkpoint.metadata.tensors)
  expect(plan.conversion.parameters.map((p) => p.copies)).toEqual(reference.conversion.parameters.map((p) => p.copies))
  const { tensors } = exportOf(apart, plan)
  for (const { name: own, shape } of apart.tensors) expect(tensors.get(own)?.shape, own).toEqual(shape)
})
