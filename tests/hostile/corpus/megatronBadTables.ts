/** `.metadata` whose tables contradict themselves, the files, or each other. */
import type { BadCase, Command } from "./Case.ts"
import type { Bases } from "./megatronBadFolders.ts"
import { type Entry, filesOf, type Megatron, recut, type TensorEntry, withEntry } from "./Megatron.ts"
import { DCP, FILESYSTEM, type MetadataStyle, type Place, sizeOf } from "./Metadata.ts"
import { call, g, instance, list, type Py } from "./Pickle.ts"
import { architectures } from "./Toy.ts"

const BOTH: ReadonlyArray<Command> = ["inspect", "export"]
const NORM = "decoder.final_layernorm.weight"
const EMBEDDING = "embedding.word_embeddings.weight"
const HEAD = "output_layer.weight"
const FC1 = "decoder.layers.mlp.linear_fc1.weight"
const FC2 = "decoder.layers.mlp.linear_fc2.weight"
const FILE = ".metadata"

type Change = (m: Megatron) => Megatron

const style = (metadata: MetadataStyle): Change => (m) => ({ ...m, metadata })
/** Change the places of one key. */
const place = (key: string, change: (p: Place) => Partial<Place>): Change => (m) => ({ ...m, places: (all) => all.map((p) => (p.key === key ? { ...p, ...change(p) } : p)) })
const places = (change: (all: ReadonlyArray<Place>) => ReadonlyArray<Place>): Change => (m) => ({ ...m, places: change })
const entry = (key: string, change: (e: TensorEntry) => TensorEntry | undefined): Change => (m) => withEntry(m, key, change)
const boxes = (key: string, ...all: ReadonlyArray<readonly [offsets: ReadonlyArray<number>, sizes: ReadonlyArray<number>]>): Change =>
  entry(key, (e) => recut(e, 2, all.map(([offsets, sizes]) => ({ offsets, sizes }))))
/** Change what is said of the chunks of a key, not what is stored. */
const said = (key: string, change: (offsets: Py, sizes: Py) => readonly [Py, Py]): Change => style({
  chunk: (offsets, sizes, k) => {
    const [o, s] = k === key ? change(offsets, sizes) : [offsets, sizes]
    return instance(`${DCP} ChunkStorageMetadata`, { offsets: o, sizes: s })
  }
})
const table = (change: (e: ReadonlyArray<readonly [Py, Py]>) => ReadonlyArray<readonly [Py, Py]>): Change => style({ entries: change })
const first = (all: ReadonlyArray<Place>, key: string): Place => all.find((p) => p.key === key)!

const cases: Readonly<Record<string, readonly [Change, ...says: ReadonlyArray<string>]>> = {
  // Boxes
  "hole/no-chunks": [entry(NORM, (e) => ({ ...e, chunks: [] })), FILE, NORM],
  "hole/one-chunk-missing": [entry(FC1, (e) => ({ ...e, chunks: e.chunks.slice(1) })), FILE, FC1, "no chunk holds"],
  "hole/last-rows": [boxes(EMBEDDING, [[0, 0], [19, 16]]), FILE, EMBEDDING, "[19,0]"],
  "hole/first-column": [boxes(EMBEDDING, [[0, 1], [20, 15]]), FILE, EMBEDDING],
  "hole/in-the-middle": [boxes(EMBEDDING, [[0, 0], [8, 16]], [[10, 0], [10, 16]]), FILE, EMBEDDING, "[8,0]"],
  "hole/a-corner": [boxes(EMBEDDING, [[0, 0], [10, 16]], [[10, 0], [10, 8]], [[10, 8], [9, 8]]), FILE, EMBEDDING],
  "hole/in-a-pinwheel": [boxes(EMBEDDING, [[0, 0], [5, 10]], [[0, 10], [15, 6]], [[15, 5], [5, 11]], [[5, 0], [15, 5]]), FILE, EMBEDDING],
  "hole/only-an-empty-chunk": [boxes(NORM, [[0], [0]]), FILE, NORM],
  "overlap/one-row": [boxes(EMBEDDING, [[0, 0], [11, 16]], [[10, 0], [10, 16]]), FILE, EMBEDDING, "same elements"],
  "overlap/whole-and-part": [boxes(EMBEDDING, [[0, 0], [20, 16]], [[10, 0], [10, 16]]), FILE, EMBEDDING, "same elements"],
  "overlap/a-corner": [boxes(EMBEDDING, [[0, 0], [11, 9]], [[0, 9], [10, 7]], [[10, 9], [10, 7]], [[10, 0], [10, 9]]), FILE, EMBEDDING],
  "overlap/same-box-two-items": [
    (m) => withEntry({ ...m, places: (all) => all.map((p) => p.key === NORM && p.index === 1 ? { ...p, offsets: [0] } : p) }, NORM, (e) => ({ ...e, chunks: [e.chunks[0]!, e.chunks[0]!] })),
    FILE,
    NORM
  ],
  "outside/past-the-end": [boxes(NORM, [[0], [16]], [[16], [4]]), FILE, NORM, "leaves the shape"],
  "outside/wider": [said(NORM, () => [sizeOf([0]), sizeOf([17])]), FILE, NORM, "leaves the shape"],
  "outside/far-away": [said(NORM, () => [sizeOf([2 ** 40]), sizeOf([16])]), FILE, NORM],
  "outside/at-2^53": [said(NORM, () => [sizeOf([2 ** 53 - 1]), sizeOf([16])]), FILE, NORM],
  "rank/offsets": [said(NORM, (_, s) => [sizeOf([0, 0]), s]), FILE, NORM],
  "rank/sizes": [said(NORM, (o) => [o, sizeOf([1, 16])]), FILE, NORM],
  "rank/65-axes": [entry(NORM, (e) => ({ ...e, shape: new Array<number>(65).fill(1) })), FILE, NORM, "axes"],
  // Numbers
  "number/negative-offset": [said(NORM, (_, s) => [call("torch Size", [-1]), s]), FILE, NORM, "offsets"],
  "number/negative-size": [said(NORM, (o) => [o, call("torch Size", [-16])]), FILE, NORM, "sizes"],
  "number/negative-shape": [entry(NORM, (e) => ({ ...e, shape: [-16] })), FILE, NORM, "shape"],
  "number/float-size": [said(NORM, (o) => [o, call("torch Size", [{ float: 16 }])]), FILE, NORM, "sizes"],
  "number/boolean-size": [said(NORM, (o) => [o, call("torch Size", [true])]), FILE, NORM, "sizes"],
  "number/string-size": [said(NORM, (o) => [o, call("torch Size", ["16"])]), FILE, NORM, "sizes"],
  "number/none-size": [said(NORM, (o) => [o, null]), FILE, NORM, "sizes"],
  "number/size-of-2^53": [said(NORM, (o) => [o, call("torch Size", [2n ** 53n])]), FILE, NORM, "sizes"],
  "number/size-of-2^64": [said(NORM, (o) => [o, call("torch Size", [2n ** 64n])]), FILE, NORM, "sizes"],
  "number/shape-overflows": [entry(NORM, (e) => ({ ...e, shape: [2 ** 52, 2 ** 52] })), FILE, NORM],
  "number/bytes-overflow": [(m) => withEntry({ ...m, metadata: { chunk: (o, s) => instance(`${DCP} ChunkStorageMetadata`, { offsets: o, sizes: s }) } }, NORM, (e) => ({ ...e, shape: [2 ** 52], chunks: e.chunks.map((c) => ({ ...c, sizes: [2 ** 52], item: Buffer.alloc(10) })) })), FILE, NORM],
  // Places
  "place/negative-offset": [place(NORM, () => ({ offset: -1 })), FILE, NORM, "offset"],
  "place/negative-length": [place(NORM, () => ({ length: -1 })), FILE, NORM, "length"],
  "place/float-offset": [place(NORM, () => ({ offset: { float: 0 } })), FILE, NORM, "offset"],
  "place/offset-of-2^63": [place(NORM, () => ({ offset: 2n ** 63n })), FILE, NORM, "offset"],
  "place/beyond-the-file": [place(NORM, () => ({ offset: 10_000_000 })), FILE, NORM, "__0_0.distcp"],
  "place/length-beyond-the-file": [place(NORM, () => ({ length: 10_000_000 })), FILE, NORM, "__0_0.distcp"],
  "place/offset-and-length-overflow": [place(NORM, () => ({ offset: 2 ** 53 - 1, length: 2 ** 53 - 1 })), FILE, NORM, "__0_0.distcp"],
  "place/object-beyond-the-file": [place("common_state/shard_0_1", () => ({ offset: 10_000_000 })), FILE, "common_state/shard_0_1"],
  "place/empty": [place(NORM, () => ({ length: 0 })), FILE, NORM, "0 bytes"],
  "place/of-another-tensor": [places((all) => all.map((p) => (p.key === HEAD ? { ...p, offset: first(all, EMBEDDING).offset, length: first(all, EMBEDDING).length } : p))), FILE, "output_layer.weight", "embedding.word_embeddings.weight"],
  "place/inside-another": [places((all) => all.map((p) => (p.key === HEAD ? { ...p, offset: (first(all, EMBEDDING).offset as number) + 1 } : p))), FILE, "overlaps"],
  "place/two-chunks-one-item": [places((all) => all.map((p) => (p.key === FC2 && p.index === 1 ? { ...p, offset: first(all, FC2).offset } : p))), FILE, FC2],
  "place/missing": [places((all) => all.filter((p) => p.key !== NORM)), FILE, NORM, "stored nowhere"],
  "place/one-of-two-missing": [places((all) => all.filter((p) => p.key !== FC2 || p.index !== 1)), FILE, FC2, "stored nowhere"],
  "place/object-missing": [places((all) => all.filter((p) => p.key !== "common_state/shard_0_1")), FILE, "common_state/shard_0_1"],
  "place/stray": [places((all) => [...all, { ...first(all, NORM), key: "nobody.weight" }]), FILE, "nobody.weight"],
  "place/stray-chunk": [places((all) => [...all, { ...first(all, NORM), offsets: [8] }]), FILE, NORM],
  "place/twice": [places((all) => [...all, first(all, NORM)]), FILE, NORM, "twice"],
  "place/object-twice": [places((all) => [...all, first(all, "common_state/shard_0_1")]), FILE, "common_state/shard_0_1"],
  "place/object-as-a-chunk": [place("common_state/shard_0_1", () => ({ offsets: [0] })), FILE, "common_state/shard_0_1"],
  "place/chunk-as-an-object": [place(NORM, () => ({ offsets: undefined })), FILE, NORM],
  "place/other-offset": [place(NORM, () => ({ offsets: [1] })), FILE, NORM],
  "place/transformed": [place(NORM, () => ({ more: { transform_descriptors: list("stream.zstd/1") } })), FILE, NORM, "transform"],
  "place/transform-not-a-list": [place(NORM, () => ({ more: { transform_descriptors: "stream.zstd/1" } })), FILE, NORM, "transform"],
  ...Object.fromEntries(([
    ["absolute", "/etc/passwd"], ["parent", "../__0_0.distcp"], ["parent-deep", "../../../../etc/passwd"], ["below", "x/__0_0.distcp"], ["dot", "."], ["dots", ".."],
    ["empty", ""], ["backslash", "..\\x.distcp"], ["drive", "C:x.distcp"], ["nul", "__0_0.distcp\u0000"], ["long", "x".repeat(300)], ["number", 0], ["none", null],
    ["slash-at-the-end", "__0_0.distcp/"], ["url", "file:///etc/passwd"]
  ] as ReadonlyArray<readonly [string, Py]>).map(([id, file]) => [`file/${id}`, [place(NORM, () => ({ file })), FILE, NORM] as const])),
  "file/missing": [place(NORM, () => ({ file: "__9_0.distcp" })), NORM, "__9_0.distcp", "does not exist"],
  "file/is-the-metadata": [place(NORM, () => ({ file: ".metadata", offset: 0, length: 100 })), NORM],
  // Types
  "type/dtype-unknown": [style({ dtype: (n, k) => g(k === NORM ? "torch float4_e2m1fn_x2" : `torch ${n}`) }), FILE, NORM, "float4_e2m1fn_x2"],
  "type/dtype-complex": [style({ dtype: (n, k) => g(k === NORM ? "torch complex128" : `torch ${n}`) }), FILE, NORM, "complex128"],
  "type/dtype-a-string": [style({ dtype: (n, k) => (k === NORM ? "torch.bfloat16" : g(`torch ${n}`)) }), FILE, NORM],
  "type/dtype-none": [style({ dtype: (n, k) => (k === NORM ? null : g(`torch ${n}`)) }), FILE, NORM],
  "type/dtype-a-size": [style({ dtype: (n, k) => g(k === NORM ? "torch Size" : `torch ${n}`) }), FILE, NORM],
  "type/sparse": [style({ layout: call("torch.serialization _get_layout", "torch.sparse_coo") }), FILE, "torch.strided"],
  "type/layout-none": [style({ layout: null }), FILE, "torch.strided"],
  "type/properties-short": [style({ state: (s) => s.slice(0, 2) }), FILE, "properties"],
  "type/properties-a-list": [style({ state: (s) => list(...s) }), FILE, "properties"],
  "type/properties-another-class": [style({ properties: `${DCP} StorageMeta` }), FILE, "properties"],
  "type/chunk-a-tuple": [style({ chunk: (o, s) => [o, s] }), FILE, "ChunkStorageMetadata"],
  "type/entry-none": [table((e) => e.map(([k, v]) => [k, k === NORM ? null : v])), FILE, NORM],
  "type/entry-a-string": [table((e) => e.map(([k, v]) => [k, k === NORM ? "tensor" : v])), FILE, NORM],
  "type/entry-a-place": [table((e) => e.map(([k, v]) => [k, k === NORM ? instance(`${FILESYSTEM} _StorageInfo`, { relative_path: "x", offset: 0, length: 0 }) : v])), FILE, NORM],
  "type/key-a-number": [table((e) => e.map(([k, v]) => [k === NORM ? 1 : k, v])), FILE],
  "type/key-none": [table((e) => e.map(([k, v]) => [k === NORM ? null : k, v])), FILE],
  "type/key-twice": [table((e) => [...e, e.find(([k]) => k === NORM)!]), FILE, NORM, "twice"],
  "type/index-a-string": [style({ storage: (e) => e.map(([, v], i) => [i === 0 ? "x" : e[i]![0], v]) }), FILE, "MetadataIndex"],
  "type/place-none": [style({ storage: (e) => e.map(([k, v], i) => [k, i === 0 ? null : v]) }), FILE, "_StorageInfo"],
  "type/tensor-said-to-be-an-object": [table((e) => e.map(([k, v]) => [k, k === NORM ? instance(`${DCP} BytesStorageMetadata`) : v])), FILE, NORM],
  "type/object-key": [(m) => ({ ...m, entries: m.entries.map((e) => (e.key === "common_state/shard_0_1" ? e : e.kind === "object" ? { ...e, key: e.key.replace("/shard_", ":") } : e)) }), FILE, "shard"],
  "type/object-key-with-two-slashes": [(m) => ({ ...m, entries: m.entries.map((e) => (e.kind === "object" && e.key.includes("final_layernorm") ? { ...e, key: `a/${e.key}` } : e)) }), FILE, "final_layernorm"],
  "type/wrapper-collision": [(m) => ({ ...m, entries: [...m.entries, { ...(m.entries.find((e) => e.key === NORM) as TensorEntry), key: `module.${NORM}` }] }), FILE, NORM],
  "type/too-many-chunks": [
    style({ value: (v) => v, entries: (e) => e.map(([k, t]) => [k, k === NORM ? instance(`${DCP} TensorStorageMetadata`, { size: sizeOf([16]), chunks: { raw: manyChunks(5_000_000) } }) : t]) }),
    FILE,
    NORM
  ]
}

/** A list of so many references to nothing. */
function manyChunks(count: number): Uint8Array {
  const parts: Array<Uint8Array> = [Buffer.of(0x5d)]
  const batch = Buffer.concat([Buffer.of(0x28), Buffer.alloc(1_000_000, 0x4e), Buffer.of(0x65)])
  for (let i = 0; i < count; i += 1_000_000) parts.push(batch)
  return Buffer.concat(parts)
}

/** The layers of a stacked tensor under a key each, if its chunks are whole layers. */
const indexed = (e: Entry): ReadonlyArray<Entry> =>
  e.kind === "object" || !e.key.startsWith("decoder.layers.") ? [e] : Array.from({ length: e.shape[0]! }, (_, layer) => ({
    ...e,
    key: e.key.replace("layers.", `layers.${layer}.`),
    shape: e.shape.slice(1),
    chunks: e.chunks.filter((c) => c.offsets[0] === layer).map((c) => ({ ...c, offsets: c.offsets.slice(1), sizes: c.sizes.slice(1) }))
  }))

/** Sound tables that are not those of the model. Only an export knows the model. */
const models: Readonly<Record<string, readonly [Change, ...says: ReadonlyArray<string>]>> = {
  "missing-norm": [entry(NORM, () => undefined), NORM],
  "missing-layers": [entry(FC2, () => undefined), FC2],
  "missing-in-one-layer": [
    (m) => ({ ...m, entries: m.entries.flatMap(indexed).filter((e) => e.key !== "decoder.layers.1.mlp.linear_fc2.weight") }),
    "1 stored tensor ",
    "decoder.layers.1.mlp.linear_fc2.weight"
  ],
  "integers-for-weights": [entry(FC2, (e) => ({ ...e, dtype: "int16" })), FC2, "I16", "mlp.down_proj.weight", "BF16"],
  "booleans-for-a-norm": [entry(NORM, (e) => ({ ...e, dtype: "bool", chunks: e.chunks.map((c) => ({ ...c, data: Buffer.alloc(16, 1) })) })), NORM, "BOOL"],
  "extra-tensor": [(m) => ({ ...m, entries: [...m.entries, { ...(m.entries.find((e) => e.key === NORM) as TensorEntry), key: "decoder.final_layernorm.scale" }] }), "decoder.final_layernorm.scale"],
  "a-component-the-model-lacks": [(m) => ({ ...m, entries: [...m.entries, { ...(m.entries.find((e) => e.key === NORM) as TensorEntry), key: "modality_submodules.images.norm.weight" }] }), "modality_submodules.images.norm.weight", "--allow-unmapped"],
  "renamed": [entry(NORM, (e) => ({ ...e, key: "decoder.last_layernorm.weight" })), NORM],
  "one-layer-more": [entry(FC2, (e) => ({ ...e, shape: [3, ...e.shape.slice(1)], chunks: [...e.chunks, { ...e.chunks[0]!, offsets: [2, 0, 0] }] })), FC2, "[3,16,24]"],
  "one-layer-less": [entry(FC2, (e) => ({ ...e, shape: [1, ...e.shape.slice(1)], chunks: e.chunks.slice(0, 1) })), FC2, "[1,16,24]"],
  "transposed": [entry(NORM, (e) => ({ ...e, shape: [16, 1], chunks: [{ offsets: [0, 0], sizes: [16, 1], data: e.chunks[0]!.data }] })), NORM, "[16,1]"],
  "wrong-rank": [entry(NORM, (e) => ({ ...e, shape: [1, 16], chunks: [{ offsets: [0, 0], sizes: [1, 16], data: e.chunks[0]!.data }] })), NORM, "[1,16]"],
  "dtype-lie-wider": [style({ dtype: (n, k) => g(k === NORM ? "torch float32" : `torch ${n}`) }), NORM, "F32", "BF16"],
  "dtype-lie-same-width": [style({ dtype: (n, k) => g(k === NORM ? "torch float16" : `torch ${n}`) }), NORM, "F16", "BF16"]
}

export const megatronBadTables = (bases: Bases): ReadonlyArray<BadCase> => [
  ...Object.entries(cases).map(([id, [change, ...says]], i): BadCase => ({
    id: `table/${id}`,
    files: () => filesOf(change(bases[architectures[i % 3]!])),
    commands: id === "file/is-the-metadata" ? ["export"] : BOTH,
    says,
    architecture: architectures[i % 3]!
  })),
  ...Object.entries(models).map(([id, [change, ...says]]): BadCase => ({
    id: `model/${id}`,
    files: () => filesOf(change(bases.llama)),
    commands: ["export"],
    says
  }))
]
