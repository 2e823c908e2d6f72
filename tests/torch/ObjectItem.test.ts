import { createHash } from "node:crypto"
import { describe, expect, it } from "vitest"
import { commonFile, objectItem, readArchive, readObjectItem } from "../../src/torch/ObjectItem.ts"
import { EMPTY_UINT8, PyFloat, PyOpaque, pyRead, PyTensor, PyTensorView } from "../../src/torch/PyValue.ts"
import type { PyValue } from "../../src/torch/PyValue.ts"
import { PickleDict } from "../../src/torch/PickleValue.ts"
import { unpickle } from "../../src/torch/Pickle.ts"
import { archiveOf } from "../../src/torch/ZipWriter.ts"
import { bytes, codeOf, fixture } from "./tools.ts"

const common = new Map<PyValue, PyValue>([
  ["checkpoint_version", new PyFloat(3)],
  ["iteration", 0],
  ["content_metadata", new Map([["singleton_local_shards", false], ["chained_optim_avoid_prefix", true]])]
])
const read = (item: Uint8Array) => readObjectItem(item.length, async (offset, length) => item.subarray(offset, offset + length))

describe("objects", () => {
  it("are what torch 2.13 writes", () => {
    expect(Buffer.from(objectItem(EMPTY_UINT8))).toEqual(fixture("extra_state_empty_u8.pt"))
    expect(Buffer.from(objectItem(null))).toEqual(fixture("extra_state_none.pt"))
    expect(Buffer.from(objectItem(common))).toEqual(fixture("common_state.pt"))
  })

  it("of all kinds of plain data are what torch 2.13 writes", () => {
    const range = (n: number) => Array.from({ length: n }, (_, i) => i)
    const values: Record<string, PyValue> = {
      numbers: [1, -1, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1, 2 ** 40, -(2n ** 63n), 2n ** 63n,
        -129, -32769, 1.5, new PyFloat(Infinity), new PyFloat(-0)],
      nested: new Map<PyValue, PyValue>([["a", null], ["b", []], ["c", new Map()], ["d", "héé"], ["e", [true, false]],
        ["f", new Map([["x", 1]])], ["g", [[["deep"]]]]]),
      "list of 1001": range(1001),
      "dict of 2001": new Map(range(2001).map((i) => [String(i), i]))
    }
    const torch = JSON.parse(fixture("objects.json").toString()) as Record<string, { length: number; sha256: string }>
    for (const [name, value] of Object.entries(values)) {
      const item = objectItem(value)
      expect({ name, length: item.length, sha256: createHash("sha256").update(item).digest("hex") }).toEqual({ name, ...torch[name] })
    }
  })

  it("read back as they were written", async () => {
    expect(await read(objectItem(common))).toEqual([common])
    expect(await read(objectItem([1, [2.5], "x", null, -(2n ** 63n)]))).toEqual([[1, [new PyFloat(2.5)], "x", null, -(2n ** 63n)]])
    const [tensor] = await read(objectItem(EMPTY_UINT8))
    expect((tensor as PyTensorView).view).toMatchObject({ dtype: "U8", shape: [0], storageLength: 0 })
  })

  it("that occur twice are shared", async () => {
    const tensor = new PyTensor("U8", [1], Uint8Array.of(9))
    expect(await read(objectItem([tensor, tensor, common, common]))).toHaveLength(1)
  })

  it("torch/value: tensor data of the wrong length, endless nesting", () => {
    expect(codeOf(() => objectItem(new PyTensor("U8", [2], Uint8Array.of(9))))).toBe("torch/value")
    let deep: PyValue = null
    for (let i = 0; i < 100; i++) deep = [deep]
    expect(codeOf(() => objectItem(deep))).toBe("torch/value")
  })

  it("torch/object: an item that holds no list", async () => {
    await expect(read(fixture("common_args.pt"))).rejects.toMatchObject({ code: "torch/object" })
  })
})

describe("common.pt", () => {
  it("has the root folder that torch gives a file of that name", () => {
    const file = commonFile(common)
    expect(Buffer.from(file).subarray(30, 45).toString()).toBe("common/data.pkl")
    expect(readArchive(file)).toEqual(common)
  })

  it("of Megatron-LM keeps classes it does not know as inert values", () => {
    const read = readArchive(fixture("common_args.pt")) as ReadonlyMap<string, unknown>
    expect([...read.keys()]).toEqual(["args", "checkpoint_version", "iteration", "rng", "content_metadata"])
    expect(read.get("iteration")).toBe(10)
    expect(read.get("rng")).toBeInstanceOf(PyOpaque)
    const args = read.get("args") as PyOpaque
    expect([args.module, args.name]).toEqual(["argparse", "Namespace"])
    const state = (args.contents as { state: PickleDict }).state
    expect(state.get("num_layers")).toBe(4)
    expect((pyRead(state) as ReadonlyMap<string, PyOpaque>).get("model_type")).toMatchObject({ module: "megatron.core.enums", name: "ModelType" })
  })
})

describe("pickle/walk", () => {
  const walk = (ops: string) => codeOf(() => pyRead(unpickle(bytes("\x80\x02", ops, "."), { globals: new Set() })))
  it("stops at lists that contain themselves", () => {
    expect(walk("]q\x00h\x00a")).toBe("pickle/walk")
  })
  it("stops at lists nested too deeply", () => {
    expect(walk("]".repeat(1000) + "a".repeat(999))).toBe("pickle/walk")
  })
  it("stops at shared lists that unfold to 10^20 elements", () => {
    expect(walk("(]q\x00" + ("](" + "h\x00".repeat(10) + "eq\x00").repeat(20) + "t")).toBe("pickle/walk")
  })
  it("refuses an archive whose pickle is one of these", () => {
    const archive = archiveOf([{ name: "a/data.pkl", content: bytes("\x80\x02]q\x00h\x00a.") }, { name: "a/version", content: bytes("3\n") }])
    expect(codeOf(() => readArchive(archive))).toBe("pickle/walk")
  })
})
