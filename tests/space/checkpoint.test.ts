/** A Megatron checkpoint as a tensor space: names are keys, and every tensor has the entry of the index that it is. */
import { describe, expect, it } from "vitest"
import { withKept } from "../../src/space/Checkpoint.ts"
import { entriesOf, sortKeys } from "../../src/space/sortKeys.ts"
import { chunksOf, prefixed, union } from "../../src/space/TensorSpace.ts"
import type { DcpMetadata, StoredTensor } from "../../src/torch/DcpMetadata.ts"

const stored = (file: string): StoredTensor => ({ dtype: "BF16", shape: [2, 2], chunks: [{ offsets: [0, 0], sizes: [2, 2], file, offset: 0, length: 8 }] })

const metadata: DcpMetadata = {
  tensors: new Map([
    ["module.decoder.final_layernorm.weight", stored("a")],
    ["hf_source.model.rotary.inv_freq", stored("b")],
    ["optimizer.state.exp_avg.module.decoder.final_layernorm.weight", stored("c")]
  ]),
  objects: new Map(),
  className: "Metadata"
}
const directory = "/run/iter_0000001"
const sorted = sortKeys(directory, metadata, `${directory}/.metadata`, new Uint8Array(0))

describe("a checkpoint's tensors", () => {
  it("are the model's, without the names of wrappers", () => {
    expect([...sorted.tensors.values()].map(({ bytes, name, role }) => [name, role, bytes])).toEqual([["decoder.final_layernorm.weight", "model", 8]])
    expect(sorted.trainingState).toEqual(["optimizer.state.exp_avg.module.decoder.final_layernorm.weight"])
  })

  it("that travel beside it are found by their Hugging Face names, and joined to it by the keys they are stored under", () => {
    expect([...sorted.kept.keys()]).toEqual(["model.rotary.inv_freq"])
    expect([...withKept(sorted).tensors].map(([key, { name, role }]) => [key, name, role])).toEqual([
      ["decoder.final_layernorm.weight", "decoder.final_layernorm.weight", "model"],
      ["hf_source.model.rotary.inv_freq", "hf_source.model.rotary.inv_freq", "carried"]
    ])
  })

  it("of all roles are those of the index, under their own keys", () => {
    const { tensors } = entriesOf({ directory, metadata })
    expect([...tensors.values()].map(({ name, role }) => [name, role])).toEqual([...metadata.tensors.keys()].map((key, i) => [key, ["model", "carried", "optimizer"][i]]))
    for (const [key, { place }] of tensors) expect(place).toEqual({ kind: "items", directory, stored: metadata.tensors.get(key) })
  })

  it("are joined to those of another checkpoint as those of any space are", () => {
    const both = union(prefixed(sorted, "old."), sorted)
    expect([...both.tensors.values()].map((tensor) => [tensor.name, chunksOf(tensor).map(({ file }) => file)])).toEqual([["old.decoder.final_layernorm.weight", ["a"]], ["decoder.final_layernorm.weight", ["a"]]])
  })
})
