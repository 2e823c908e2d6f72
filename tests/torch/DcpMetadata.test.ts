import { describe, expect, it } from "vitest"
import { decodeMetadata } from "../../src/torch/DcpMetadata.ts"
import { Dcp } from "../../src/torch/Globals.ts"
import { PickleWriter } from "../../src/torch/PickleWriter.ts"
import { codeOf, fixture } from "./tools.ts"
import * as m from "./metadataPickle.ts"

const small = {
  tensors: new Map([["w", {
    dtype: "F32", shape: [4, 6], chunks: [{ offsets: [0, 0], sizes: [4, 6], file: "__0_0.distcp", offset: 0, length: 1577 }]
  }]]),
  objects: new Map([["common", { file: "__0_0.distcp", offset: 1577, length: 1389 }]])
}

const properties = (dtype: m.Write, ...more: ReadonlyArray<m.Write>): m.Write => (p) => {
  p.global("torch.distributed.checkpoint.metadata TensorProperties").emptyTuple().newObject()
  m.tuple(dtype, m.global("torch strided"), m.none, m.int(0), m.none, ...more)(p)
  p.build()
}

describe("what is understood", () => {
  it("the minimal form", () => {
    expect(decodeMetadata(fixture("min.metadata"))).toEqual({
      className: "torch.distributed.checkpoint.metadata.Metadata",
      tensors: new Map([["w", {
        dtype: "BF16", shape: [2, 3], chunks: [{ offsets: [0, 0], sizes: [2, 3], file: "__0_0.distcp", offset: 1389, length: 1577 }]
      }]]),
      objects: new Map([["common_state/shard_0_1", { file: "__0_0.distcp", offset: 0, length: 1389 }]])
    })
  })

  it.each(["torch_2_2_protocol_2", "torch_2_2_protocol_4", "torch_2_2_protocol_5", "getattr_enum"])("%s", (name) => {
    expect(decodeMetadata(fixture(`${name}.metadata`))).toMatchObject(small)
  })

  it("Megatron-Core 0.15: its own class, and the original shapes of flattened tensors", () => {
    expect(decodeMetadata(fixture("mcore_0_15.metadata"))).toEqual({
      ...small,
      className: "megatron.core.dist_checkpointing.strategies.torch.MCoreMetadata",
      flattened: new Map([["w", [2, 12]]])
    })
  })

  it("plain DCP: paths in the ids, a planner's table, objects under plain keys", () => {
    const { objects, tensors } = decodeMetadata(fixture("plain_dcp.metadata"))
    expect([...tensors.keys()]).toEqual(["model.w", "model.steps.0", "model.steps.1"])
    expect(tensors.get("model.steps.1")!.shape).toEqual([])
    expect([...objects.keys()]).toEqual(["note.lr"])
  })

  it("what Megatron-Bridge writes, with all its saved plans", () => {
    const { objects, tensors } = decodeMetadata(fixture("mimo.metadata"))
    expect([tensors.size, objects.size]).toEqual([141, 59])
    expect([...tensors.keys()].slice(0, 2)).toEqual([
      "language_model.embedding.word_embeddings.weight", "language_model.decoder.layers.0.self_attention.dt_bias"
    ])
    expect(tensors.get("language_model.decoder.layers.0.mlp.linear_fc1.weight")!.chunks.map((c) => c.offsets)).toEqual([[0, 0], [152, 0]])
  })

  it("properties that grew a field, sizes as tuples, storage without a transform", () => {
    const bytes = m.metadata({
      entries: [[m.text("w"), m.tensor({ properties: properties(m.global("torch bool"), m.tuple(m.int(1))), size: m.tuple(m.int(4)), chunks: m.list(m.chunk(m.list(m.int(0)), m.tuple(m.int(4)))) })]],
      storage: [[m.index("w", m.size(0)), m.storage({ more: [["transform_descriptors", m.none]] })]]
    })
    expect(decodeMetadata(bytes).tensors.get("w")).toMatchObject({ dtype: "BOOL", shape: [4] })
  })

  it("a box that several ranks list is one chunk, a rank without elements none", () => {
    const boxes = m.list(m.chunk(m.size(0), m.size(0)), m.chunk(), m.chunk(), m.chunk(m.size(0), m.size(0)))
    const bytes = m.metadata({ entries: [[m.text("w"), m.tensor({ chunks: boxes })]], storage: [[m.index("w", m.size(0)), m.storage()]] })
    expect(decodeMetadata(bytes).tensors.get("w")!.chunks.map((c) => c.sizes)).toEqual([[4]])
  })

  it("a chunk and an index that get their attributes only when they stand in their tables", () => {
    const late = (id: string, memo: string): m.Write => (p) => void p.global(id).emptyTuple().newObject().memoise(memo)
    const pickle = new PickleWriter()
    m.instance(Dcp.metadata[0], [
      ["state_dict_metadata", m.dict([m.text("w"), m.tensor({ chunks: m.list(late(Dcp.chunk[0], "chunk")) })])],
      ["storage_data", m.dict([late(Dcp.index[0], "index"), m.storage()])],
      ["x", (p) => {
        p.recall("chunk")
        m.dict([m.text("offsets"), m.size(0)], [m.text("sizes"), m.size(4)])(p)
        p.build()
      }],
      ["y", (p) => {
        p.recall("index")
        m.dict([m.text("fqn"), m.text("w")], [m.text("offset"), m.size(0)])(p)
        p.build()
      }]
    ])(pickle)
    expect(decodeMetadata(pickle.stop()).tensors.get("w")!.chunks).toEqual([{ offsets: [0], sizes: [4], file: "__0_0.distcp", offset: 0, length: 1577 }])
  })

  it("names like those of JavaScript's own properties", () => {
    const bytes = m.metadata({ entries: [[m.text("__proto__"), m.tensor()]], storage: [[m.index("__proto__", m.size(0)), m.storage()]] })
    expect([...decodeMetadata(bytes).tensors.keys()]).toEqual(["__proto__"])
  })
})

describe("what is refused", () => {
  const w = (over: Parameters<typeof m.tensor>[0]) => m.metadata({ entries: [[m.text("w"), m.tensor(over)]] })
  const stored = (over: Parameters<typeof m.storage>[0]) => m.metadata({ storage: [[m.index("w", m.size(0)), m.storage(over)]] })
  const pickled = (write: m.Write) => {
    const pickle = new PickleWriter()
    write(pickle)
    return pickle.stop()
  }
  const tensorEntry = [m.text("w"), m.tensor()] as const
  const storedEntry = [m.index("w", m.size(0)), m.storage()] as const

  it.each([
    ["pickle/global", "a class that has no place here", m.metadata({ more: [["x", m.call("os system", m.text("id"))]] })],
    ["dcp/class", "another root", pickled(m.dict())],
    ["dcp/class", "a root of another class", m.metadata({ root: "torch.distributed.checkpoint.metadata StorageMeta" })],
    ["dcp/class", "an entry of another class", m.metadata({ entries: [[m.text("w"), m.storage()]] })],
    ["dcp/class", "a storage key of another class", m.metadata({ storage: [[m.text("w"), m.storage()]] })],
    ["dcp/class", "too many attributes", stored({ more: Array.from({ length: 100 }, (_, i) => [`x${i}`, m.none] as const) })],
    ["dcp/class", "a chunk that is none", w({ chunks: m.list(m.chunk(), m.none) })],
    ["dcp/class", "a chunk that belongs into a saved plan", w({ chunks: m.list(m.chunk(), m.instance(Dcp.writeItem[0], [])) })],
    ["dcp/class", "an object as an attribute", stored({ more: [["transform_descriptors", m.object]] })],
    ["dcp/integer", "a chunk among sizes", w({ size: m.list(m.chunk()) })],
    ["dcp/transformed", "a chunk among transformations", stored({ more: [["transform_descriptors", m.list(m.chunk())]] })],
    ["dcp/field", "no tables", pickled(m.instance("torch.distributed.checkpoint.metadata Metadata", []))],
    ["dcp/field", "a key that is no string", m.metadata({ entries: [[m.int(1), m.tensor()]] })],
    ["dcp/field", "no chunks", w({ chunks: m.none })],
    ["dcp/field", "no properties", w({ properties: m.none })],
    ["dcp/field", "no shape", w({ size: m.none })],
    ["dcp/field", "no file name", stored({ file: m.none })],
    ["dcp/integer", "a negative offset", stored({ offset: m.int(-1) })],
    ["dcp/integer", "an offset beyond 2^53", stored({ offset: m.int(2n ** 53n) })],
    ["dcp/integer", "a length that is no integer", stored({ length: m.text("1577") })],
    ["dcp/integer", "a negative size", w({ size: m.size(-4) })],
    ["dcp/overlap", "two boxes with one place", w({ chunks: m.list(m.chunk(), m.chunk(m.size(0), m.size(3))) })],
    ["dcp/no-storage", "a chunk stored in no bytes", stored({ length: m.int(0) })],
    ["dcp/field", "a dtype that is none", w({ properties: properties(m.none) })],
    ["dcp/rank", "a chunk of another rank", w({ chunks: m.list(m.chunk(m.size(0), m.size(4, 1))) })],
    ["dcp/rank", "65 axes", w({ size: m.size(...Array.from({ length: 65 }, () => 1)) })],
    ["dcp/dtype", "complex128", w({ properties: m.properties("torch complex128") })],
    ["dcp/layout", "a sparse tensor", w({ properties: m.properties("torch float32", m.call("torch.serialization _get_layout", m.text("torch.sparse_coo"))) })],
    ["dcp/duplicate-key", "one key twice", m.metadata({ entries: [tensorEntry, tensorEntry] })],
    ["dcp/no-storage", "a chunk that is stored nowhere", m.metadata({ storage: [] })],
    ["dcp/no-storage", "a chunk stored under another offset", m.metadata({ storage: [[m.index("w", m.size(1)), m.storage()]] })],
    ["dcp/no-storage", "an object that is stored nowhere", m.metadata({ entries: [[m.text("o"), m.object]], storage: [] })],
    ["dcp/stray-storage", "bytes of an unknown tensor", m.metadata({ storage: [storedEntry, [m.index("v", m.size(0)), m.storage()]] })],
    ["dcp/stray-storage", "bytes of an unknown chunk", m.metadata({ storage: [storedEntry, [m.index("w", m.size(1)), m.storage()]] })],
    ["dcp/stray-storage", "an object stored as a chunk", m.metadata({ entries: [[m.text("w"), m.object]] })],
    ["dcp/duplicate-storage", "one chunk stored twice", m.metadata({ storage: [storedEntry, storedEntry] })],
    ["dcp/duplicate-storage", "one object stored twice", m.metadata({ entries: [[m.text("o"), m.object]], storage: [[m.index("o"), m.storage()], [m.index("o"), m.storage()]] })],
    ["dcp/transformed", "compressed items", stored({ more: [["transform_descriptors", m.list(m.text("stream.zstd/1"))]] })]
  ])("%s: %s", (code, _what, bytes) => {
    expect(codeOf(() => decodeMetadata(bytes))).toBe(code)
  })

  it.each(["../x.distcp", "a/b", "/etc/passwd", "..", ".", "", "a\\b", "C:x", "a\u0000b", "x".repeat(300)])("dcp/file-name: %j", (name) => {
    expect(codeOf(() => decodeMetadata(stored({ file: m.text(name) })))).toBe("dcp/file-name")
  })

  it.each([
    ["-1", m.int(-1)], ["9007199254740992", m.int(2n ** 53n)], ["\"7\"", m.text("7")], ["nothing", m.none], ["true", (p: PickleWriter) => void p.boolean(true)]
  ])("says what is no offset: %s", (shown, offset) => {
    expect(() => decodeMetadata(stored({ offset }))).toThrow(`the byte offset: ${shown} is not a non-negative integer below 2^53`)
  })

  it("dcp/limit: tensors that share one long list of chunks", { timeout: 30_000 }, () => {
    const list: m.Write = (p) => {
      if (!p.recall("list")) {
        p.emptyList().mark()
        m.chunk()(p)
        p.memoise("chunk")
        for (let i = 1; i < 50_000; i++) p.recall("chunk")
        p.appends().memoise("list")
      }
    }
    const keys = Array.from({ length: 100 }, (_, i) => `w${i}`)
    const bytes = m.metadata({
      entries: keys.map((key) => [m.text(key), m.tensor({ chunks: list })] as const),
      storage: keys.map((key) => [m.index(key, m.size(0)), m.storage()] as const)
    })
    expect(codeOf(() => decodeMetadata(bytes))).toBe("dcp/limit")
  })

  it("names the tensor", () => {
    expect(() => decodeMetadata(stored({ offset: m.int(-1) }))).toThrow(expect.objectContaining({ place: { tensor: "w" } }))
  })
})
