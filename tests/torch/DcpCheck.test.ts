import { describe, expect, it } from "vitest"
import { FormatError } from "../../src/errors.ts"
import { checkMetadata } from "../../src/torch/DcpCheck.ts"
import type { DcpMetadata, StoredChunk, StoredObject } from "../../src/torch/DcpMetadata.ts"
import { decodeMetadata } from "../../src/torch/DcpMetadata.ts"
import { codeOf, fixture } from "./tools.ts"

const files = new Map([["a", 10_000], ["b", 10_000]])
const chunk = (offsets: ReadonlyArray<number>, sizes: ReadonlyArray<number>, offset: number, length = 1000, file = "a"): StoredChunk =>
  ({ offsets, sizes, file, offset, length })
const check = (chunks: ReadonlyArray<StoredChunk>, objects: Record<string, StoredObject> = {}, shape: ReadonlyArray<number> = [4, 2]) => {
  const metadata: DcpMetadata = { tensors: new Map([["w", { dtype: "BF16", shape, chunks }]]), objects: new Map(Object.entries(objects)), className: "x" }
  checkMetadata(metadata, files)
}
const refused = (...args: Parameters<typeof check>) => codeOf(() => check(...args))
const problem = (...args: Parameters<typeof check>) => {
  try {
    check(...args)
  } catch (error) {
    return [(error as FormatError).place.tensor, (error as FormatError).message]
  }
  return []
}
const top = chunk([0, 0], [2, 2], 0)
const bottom = chunk([2, 0], [2, 2], 1000)

describe("checkMetadata", () => {
  it("accepts what Megatron-Bridge writes", () => {
    checkMetadata(decodeMetadata(fixture("mimo.metadata")), new Map([["__0_0.distcp", 1414544], ["__1_0.distcp", 454556]]))
    checkMetadata(decodeMetadata(fixture("qwen3-moe.metadata")), new Map([["__0_0.distcp", 673009]]))
  })

  it("accepts plain DCP, whose object keys are free, if told so", () => {
    const plain = decodeMetadata(fixture("plain_dcp.metadata"))
    const size = new Map([["__0_0.distcp", 5992]])
    expect(codeOf(() => checkMetadata(plain, size))).toBe("dcp/object-key")
    checkMetadata(plain, size, { objectKeys: "any" })
  })

  it("accepts gaps, several files, empty chunks, and objects that share one item", () => {
    check([top, chunk([2, 0], [2, 2], 5000, 1000, "b"), chunk([4, 0], [0, 2], 9000)], {
      "x/shard_0_2": { file: "a", offset: 2000, length: 1513 },
      "x/shard_1_2": { file: "a", offset: 2000, length: 1513 },
      "rng/shard_0.0_1.1": { file: "a", offset: 3513, length: 1513 }
    })
    check([chunk([], [], 0)], {}, [])
    check([], {}, [0, 5])
  })

  it("accepts a box that is listed twice with one item", () => {
    check([top, bottom, bottom])
  })

  it.each(["x", "x/shard_0", "x/shard_a_b", "x/y/shard_0_1", "/shard_0_1", "x/shard_0_1 "])("dcp/object-key: %j", (key) => {
    expect(refused([top, bottom], { [key]: { file: "a", offset: 5000, length: 1513 } })).toBe("dcp/object-key")
  })

  it("dcp/hole", () => {
    expect(problem([top])).toEqual(["w", "no chunk holds (all of) the elements from [2,0] to [4,2]"])
    expect(refused([])).toBe("dcp/hole")
  })

  it("dcp/overlap", () => {
    expect(problem([top, chunk([1, 0], [3, 2], 1000)])).toEqual([
      "w", 'the chunk at [0,0] of size [2,2] (a, bytes 0 to 1000) and the chunk at [1,0] of size [3,2] (a, bytes 1000 to 2000) hold the same elements'
    ])
    expect(refused([top, bottom, { ...bottom, offset: 3000 }])).toBe("dcp/overlap")
  })

  it("dcp/outside", () => {
    expect(refused([top, chunk([2, 0], [3, 2], 1000)])).toBe("dcp/outside")
    expect(refused([chunk([Number.MAX_SAFE_INTEGER, 0], [Number.MAX_SAFE_INTEGER, 2], 0)])).toBe("dcp/outside")
  })

  it("dcp/too-large", () => {
    expect(refused([], {}, [2 ** 30, 2 ** 30])).toBe("dcp/too-large")
  })

  it("dcp/irregular: a pinwheel whose hub is cut into thousands of strips", { timeout: 30_000 }, () => {
    const n = 12_000
    const arms = [[[0, 0], [1, n + 1]], [[0, n + 1], [n + 1, 1]], [[n + 1, 1], [1, n + 1]], [[1, 0], [n + 1, 1]]] as const
    const strips = Array.from({ length: n }, (_, i) => chunk([1, 1 + i], [n, 1], 0))
    expect(refused([...arms.map(([at, sizes]) => chunk(at, sizes, 0)), ...strips], {}, [n + 2, n + 2])).toBe("dcp/irregular")
  })

  it("dcp/no-file and dcp/beyond-file", () => {
    expect(problem([top, { ...bottom, file: "c" }])).toEqual(["w", "its data is in c, which is missing"])
    expect(problem([top, { ...bottom, offset: 9500 }])).toEqual(["w", "its data is in a, bytes 9500 to 10500, but the file has 10000"])
  })

  it("dcp/shared-bytes", () => {
    expect(problem([top, { ...bottom, offset: 999 }])).toEqual(["w", "its data in a, bytes 999 to 1999, overlaps that of w, bytes 0 to 1000"])
    expect(refused([top, { ...bottom, offset: 0 }])).toBe("dcp/shared-bytes")
    expect(refused([top, bottom], { "x/shard_0_1": { file: "a", offset: 0, length: 1000 } })).toBe("dcp/shared-bytes")
    expect(refused([top, bottom], { "x/shard_0_1": { file: "a", offset: 3000, length: 100 }, "y/shard_0_1": { file: "a", offset: 3000, length: 101 } })).toBe("dcp/shared-bytes")
  })
})
