/** Models under the names of transformers 5, experts packed: the same checkpoint, and the same names on the way back. */
import { expect, it } from "vitest"
import type { SourceTensor } from "../../src/conformance/Case.ts"
import { exportOf, importOf } from "./inMemory.ts"
import { toys } from "./toys.ts"

/** `w1` above `w3` of all experts, and all `w2`, as one tensor each. */
const packed = (tensors: ReadonlyArray<SourceTensor>): ReadonlyArray<SourceTensor> => {
  const count = new Set(tensors.map((t) => /\.experts\.(\d+)\./.exec(t.name)?.[1])).size - 1
  return tensors.flatMap((t) => {
    const found = /^(.*\.experts)\.0\.(w1|w2|up_proj|down_proj)\.weight$/.exec(t.name)
    if (!found) return /\.experts\.\d+\./.test(t.name) ? [] : [t]
    const [, module, part] = found
    const [rows, columns] = t.shape as [number, number]
    const name = part === "w1" ? "gate_up_proj" : part === "w2" ? "down_proj" : part
    return [{ ...t, name: `${module}.${name}`, shape: [count, part === "w1" ? 2 * rows : rows, columns] }]
  })
}

it.each([
  ["mixtral", (name: string) => name.replace("block_sparse_moe", "mlp")],
  ["nemotron-h-moe", (name: string) => name.replace(/^backbone\./, "model.")]
])("%s", (toyName, rename) => {
  const toy = toys.find((t) => t.name === toyName)!
  const other = { ...toy, tensors: packed(toy.tensors).map((t) => ({ ...t, name: rename(t.name) })) }
  expect(other.tensors.some((t) => /\.experts\.(gate_up|up)_proj$/.test(t.name))).toBe(true)
  const [plan, reference] = [importOf(other), importOf(toy)]
  expect(plan.checkpoint.metadata.tensors).toEqual(reference.checkpoint.metadata.tensors)
  const { tensors } = exportOf(other, plan)
  expect([...tensors.keys()].sort()).toEqual(other.tensors.map((t) => t.name).sort())
  for (const { name, shape } of other.tensors) expect(tensors.get(name)?.shape, name).toEqual(shape)
})
