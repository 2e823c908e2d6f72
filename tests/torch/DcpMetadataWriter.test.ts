import { describe, expect, it } from "vitest"
import type { DcpMetadata, StoredTensor } from "../../src/torch/DcpMetadata.ts"
import { decodeMetadata } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { checkMetadata } from "../../src/torch/DcpCheck.ts"
import { cpuMs } from "../measure/cpu.ts"
import { codeOf, fixture } from "./tools.ts"

const orders = ({ objects, tensors }: DcpMetadata) => [[...tensors], [...objects]]

describe("encodeMetadata", () => {
  it.each(["min", "mimo", "qwen3-moe", "plain_dcp"])("%s decodes to the same after it is written again, in the same order", (name) => {
    const metadata = decodeMetadata(fixture(`${name}.metadata`))
    expect(orders(decodeMetadata(encodeMetadata(metadata)))).toEqual(orders(metadata))
  })

  it("gives equal bytes for equal input, and no ids, times or versions", () => {
    const metadata = decodeMetadata(fixture("mimo.metadata"))
    const bytes = Buffer.from(encodeMetadata(metadata))
    expect(bytes.equals(encodeMetadata(decodeMetadata(bytes)))).toBe(true)
    for (const word of ["storage_meta", "version", "save_id", "all_local_plans"]) expect(bytes.includes(word)).toBe(false)
    expect(bytes.subarray(0, 2)).toEqual(Buffer.from([0x80, 2]))
  })

  it("keeps every dtype, offsets beyond 4 GiB and keys that look like anything", () => {
    const tensor = (dtype: StoredTensor["dtype"], offset: number): StoredTensor => ({
      dtype, shape: [2, 3], chunks: [{ offsets: [0, 0], sizes: [2, 3], file: "a.distcp", offset, length: 1577 }]
    })
    const tensors = new Map([
      ["size 2,3", tensor("BF16", 0)], ["layout", tensor("F8_E4M3", 2 ** 40)], ["global torch Size", tensor("U64", 2 ** 53 - 1)],
      ["héé/\n", tensor("C64", 5)], ["x".repeat(300), tensor("BOOL", 2 ** 31)]
    ])
    const metadata = { tensors, objects: new Map(), className: "torch.distributed.checkpoint.metadata.Metadata" }
    expect(decodeMetadata(encodeMetadata(metadata))).toEqual(metadata)
  })

  it("writes the storage of a box that is listed twice once", () => {
    const chunk = { offsets: [0], sizes: [2], file: "a", offset: 0, length: 10 }
    const metadata: DcpMetadata = { tensors: new Map([["w", { dtype: "U8", shape: [2], chunks: [chunk, chunk] }]]), objects: new Map(), className: "x" }
    expect(decodeMetadata(encodeMetadata(metadata)).tensors.get("w")!.chunks).toEqual([chunk])
  })

  it("dcp/dtype and dcp/flattened: what torch could not load", () => {
    const empty: DcpMetadata = { tensors: new Map(), objects: new Map(), className: "x" }
    expect(codeOf(() => encodeMetadata({ ...empty, tensors: new Map([["w", { dtype: "F4", shape: [2], chunks: [] }]]) }))).toBe("dcp/dtype")
    expect(codeOf(() => encodeMetadata({ ...empty, flattened: new Map([["w", [1]]]) }))).toBe("dcp/flattened")
  })

  it("150 000 chunks are written, read and checked in seconds", { timeout: 30_000 }, () => {
    const tensors = new Map<string, StoredTensor>()
    const objects = new Map<string, { file: string; offset: number; length: number }>()
    let at = 0
    for (let layer = 0; layer < 60; layer++) {
      const key = `decoder.layers.${layer}.mlp.experts.experts.linear_fc1.weight`
      const chunks = Array.from({ length: 2500 }, (_, i) => {
        const offset = at
        at += 2577
        return { offsets: [i >> 1, (i & 1) * 512, 0], sizes: [1, 512, 64], file: `__${i % 64}_0.distcp`, offset, length: 2577 }
      })
      tensors.set(key, { dtype: "BF16", shape: [1250, 1024, 64], chunks })
      for (let e = 0; e < 512; e++) objects.set(`${key}._extra_state/shard_${e}_512`, { file: "__0_0.distcp", offset: at, length: 1513 })
      at += 1513
    }
    const metadata = { tensors, objects, className: "torch.distributed.checkpoint.metadata.Metadata" }
    // About a second; the bound only catches quadratic work.
    expect(cpuMs(() => {
      const back = decodeMetadata(encodeMetadata(metadata))
      checkMetadata(back, new Map(Array.from({ length: 64 }, (_, i) => [`__${i}_0.distcp`, at])))
      expect(back.tensors.size + back.objects.size).toBe(60 + 60 * 512)
    })).toBeLessThan(15_000)
  })
})
