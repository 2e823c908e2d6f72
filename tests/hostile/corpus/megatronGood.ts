/** Checkpoints as old and new torch and Megatron write them, or could: every one is accepted, every tensor exact. */
import type { GoodCase } from "./Case.ts"
import { type FileSet, link, type Node } from "./FileSet.ts"
import { archive, contiguous, HOOKS, type ItemStyle, objectItem, storageId, tensorItem, type TensorParts, tensorValue } from "./Item.ts"
import type { Bases } from "./megatronBadFolders.ts"
import { type Chunk, type Entry, filesOf, joined, type Megatron, recut, type TensorEntry, withChunk, withEntry } from "./Megatron.ts"
import { DCP, FILESYSTEM, type MetadataStyle } from "./Metadata.ts"
import { attributes, call, dict, g, instance, list, type Py } from "./Pickle.ts"
import { type Architecture, architectures } from "./Toy.ts"

const ITER = "iter_0000000"
const TXT = "latest_checkpointed_iteration.txt"
const PT = "latest_train_state.pt"
const NORM = "decoder.final_layernorm.weight"
const EMBEDDING = "embedding.word_embeddings.weight"
const FC1 = "decoder.layers.mlp.linear_fc1.weight"

type Change = (m: Megatron) => Megatron

const isTensor = (e: Entry): e is TensorEntry => e.kind === "tensor"
const tensors = (change: (e: TensorEntry) => Entry): Change => (m) => ({ ...m, entries: m.entries.map((e) => (isTensor(e) ? change(e) : e)) })
const objects = (change: (key: string) => Uint8Array | undefined): Change => (m) => ({
  ...m,
  entries: m.entries.map((e) => (e.kind === "object" && e.key !== "common_state/shard_0_1" ? { ...e, item: change(e.key) ?? e.item } : e))
})
const items = (item: ItemStyle): Change => (m) => ({ ...m, item })
const metadata = (style: MetadataStyle): Change => (m) => ({ ...m, metadata: style })
const renamed = (change: (key: string) => string): Change => (m) => ({ ...m, entries: m.entries.map((e) => ({ ...e, key: change(e.key) })) })
const more = (...entries: ReadonlyArray<Entry>): Change => (m) => ({ ...m, entries: [...m.entries, ...entries] })
const both = (...changes: ReadonlyArray<Change>): Change => (m) => changes.reduce((all, change) => change(all), m)
const file = (name: string, node: Node | string): Change => (m) => ({ ...m, files: new Map([...m.files, [name, typeof node === "string" ? Buffer.from(node) : node]]) })
const withoutFiles = (...names: ReadonlyArray<string>): Change => (m) => ({ ...m, without: names })
const trackers = (files: Readonly<Record<string, Node | string | undefined>>): Change => (m) => ({
  ...m,
  trackers: new Map([...m.trackers, ...Object.entries(files).map(([name, node]) => [name, typeof node === "string" ? Buffer.from(node) : node!] as const)].filter(([name]) => !(name in files) || files[name] !== undefined))
})
/** A chunk's item built otherwise. */
const views = (make: (parts: TensorParts) => Uint8Array): Change =>
  tensors((e) => ({ ...e, chunks: e.chunks.map((c) => ({ ...c, item: make({ dtype: e.dtype, shape: c.sizes, data: c.data }) })) }))

const float32 = (key: string, shape: ReadonlyArray<number>, chunks?: TensorEntry["chunks"]): TensorEntry => ({
  kind: "tensor",
  key,
  dtype: "float32",
  shape,
  chunks: chunks ?? [{ offsets: shape.map(() => 0), sizes: shape, data: Buffer.alloc(shape.reduce((a, b) => a * b, 1) * 4, 1) }]
})

/** Items --------------------------------------------------------------------------------------------------------------- */

const itemCases: Readonly<Record<string, Change>> = {
  "root-foo": items({ root: "foo" }),
  "root-of-the-file": items({ root: "__0_0" }),
  "root-with-space": items({ root: "my archive" }),
  "unaligned": items({ zip: { align: 1 } }),
  "aligned-to-4096": items({ zip: { align: 4096 } }),
  "sizes-in-front": items({ zip: { streamed: false } }),
  "sizes-in-front-unaligned": items({ zip: { streamed: false, align: 1 } }),
  "without-zip64": items({ zip: { zip64: false } }),
  "zip64-fields": items({ records: (all) => all.map((r) => ({ ...r, wide: true })) }),
  "zip64-fields-of-the-data": items({ records: (all) => all.map((r) => (r.name.includes("data/") ? { ...r, wide: true } : r)) }),
  "zip64-saturated-end": items({ zip: { end: (f) => ({ ...f, count: 0xffff, countHere: 0xffff, size: 0xffffffff, offset: 0xffffffff }) } }),
  "archive-comment": items({ zip: { comment: "PK\u0005\u0006 torch" } }),
  "record-comments": items({ records: (all) => all.map((r) => ({ ...r, comment: "c" })) }),
  "crc-not-computed": items({ records: (all) => all.map((r) => ({ ...r, crc: 0 })) }),
  "no-byteorder": items({ only: ["data.pkl", "version", ".data/serialization_id"] }),
  "as-torch-1.6": items({ only: ["data.pkl", "version"] }),
  "as-torch-2.2": items({ only: ["data.pkl", "byteorder", "version", ".data/serialization_id"] }),
  "data-before-pickle": items({ records: (all) => [...all].reverse() }),
  "more-records": items({ records: (all) => [...all, { name: "archive/extra/a.txt", content: Buffer.from("x") }, { name: "archive/.debug", content: Buffer.alloc(0) }] }),
  "version-1": items({ records: (all) => all.map((r) => (r.name === "archive/version" ? { ...r, content: Buffer.from("1\n") } : r)) }),
  "version-without-newline": items({ records: (all) => all.map((r) => (r.name === "archive/version" ? { ...r, content: Buffer.from("3") } : r)) }),
  "no-memo": items({ pickle: { memo: false } }),
  "pickle-protocol-3": items({ pickle: { protocol: 3 } }),
  "pickle-protocol-4": items({ pickle: { protocol: 4 } }),
  "key-12": views((p) => tensorItem({ ...p, key: "12" })),
  "cuda-location": items({ value: (v) => located(v, "cuda:0") }),
  "meta-location": items({ value: (v) => located(v, "some device") }),
  "requires-grad": items({ value: (v) => argument(v, 4, true) }),
  "empty-extra-state": items({ value: (v) => ({ ...(v as { call: Py; args: ReadonlyArray<Py> }), args: [...(v as { args: ReadonlyArray<Py> }).args, null] }) }),
  "sizes-as-torch-size": items({ value: (v) => argument(argument(v, 2, call("torch Size", argumentOf(v, 2))), 3, call("torch Size", argumentOf(v, 3))) }),
  "parameter": items({ value: (v) => call("torch._utils _rebuild_parameter", v, true, HOOKS) }),
  "rebuilt-with-v3": views((p) => archive(call("torch._utils _rebuild_tensor_v3", storageId("torch.storage UntypedStorage", "0", p.data.length), 0, p.shape, contiguous(p.shape), false, HOOKS, g(`torch ${p.dtype}`)), [["0", p.data]])),
  "several-storages": views((p) => archive(tensorValue(p), [["0", p.data], ["1", Buffer.alloc(1000, 1)], ["2", Buffer.alloc(0)]])),
  "hooks-none": items({ value: (v) => argument(v, 5, null) })
}

function argumentOf(v: Py, at: number): Py {
  return (v as { args: ReadonlyArray<Py> }).args[at]!
}
function argument(v: Py, at: number, to: Py): Py {
  return { call: (v as { call: Py }).call, args: (v as { args: ReadonlyArray<Py> }).args.map((a, i) => (i === at ? to : a)) }
}
function located(v: Py, location: string): Py {
  const id = (argumentOf(v, 0) as { persistent: ReadonlyArray<Py> }).persistent
  return argument(v, 0, { persistent: id.map((x, i) => (i === 3 ? location : x)) })
}

/** Views: what older asynchronous writers stored. ------------------------------------------------------------------------- */

const width = 2
const columnMajor = (p: TensorParts): TensorParts => {
  const n = p.shape.length
  if (n < 2) return p
  const [rows, columns] = [p.shape[n - 2]!, p.shape[n - 1]!]
  const outer = p.data.length / width / rows / columns
  const storage = Buffer.alloc(p.data.length)
  for (let o = 0; o < outer; o++) {
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        const from = (o * rows * columns + r * columns + c) * width
        storage.set(p.data.subarray(from, from + width), (o * rows * columns + c * rows + r) * width)
      }
    }
  }
  const strides = contiguous(p.shape)
  strides[n - 2] = 1
  strides[n - 1] = rows
  return { ...p, strides, storage }
}
/** The tensor as the inner window of a larger one, `pad` elements more in each direction of the last axis. */
const window = (pad: number) => (p: TensorParts): TensorParts => {
  const columns = p.shape.at(-1)!
  const rows = p.data.length / width / columns
  const wide = columns + 2 * pad
  const storage = Buffer.alloc(rows * wide * width, 0x5a)
  for (let r = 0; r < rows; r++) storage.set(p.data.subarray(r * columns * width, (r + 1) * columns * width), (r * wide + pad) * width)
  const strides = contiguous([...p.shape.slice(0, -1), wide])
  return { ...p, strides, offset: pad, storage }
}
const spaced = (step: number) => (p: TensorParts): TensorParts => {
  const elements = p.data.length / width
  const storage = Buffer.alloc(elements * step * width, 0xa5)
  for (let i = 0; i < elements; i++) storage.set(p.data.subarray(i * width, (i + 1) * width), i * step * width)
  return { ...p, strides: contiguous(p.shape).map((s) => s * step), storage }
}
const surrounded = (before: number, after: number) => (p: TensorParts): TensorParts =>
  ({ ...p, offset: before / width, storage: Buffer.concat([Buffer.alloc(before, 0x11), p.data, Buffer.alloc(after, 0x22)]) })

const viewCases: Readonly<Record<string, Change>> = {
  "transposed": views((p) => tensorItem(columnMajor(p))),
  "a-window": views((p) => tensorItem(window(3)(p))),
  "spaced": views((p) => tensorItem(spaced(3)(p))),
  "with-an-offset": views((p) => tensorItem(surrounded(64, 0)(p))),
  "odd-offset": views((p) => tensorItem(surrounded(2, 6)(p))),
  "larger-storage": views((p) => tensorItem(surrounded(0, 4096)(p))),
  "offset-and-larger-storage": views((p) => tensorItem(surrounded(126, 4098)(p))),
  "strides-of-single-axes": views((p) => tensorItem({ ...p, strides: contiguous(p.shape).map((s, i) => (p.shape[i] === 1 ? 999 : s)) })),
  "expanded": (m) => withChunk(m, NORM, (c, e) => ({ ...c, item: tensorItem({ dtype: e.dtype, shape: c.sizes, data: c.data }) }))
}

/** Boxes ----------------------------------------------------------------------------------------------------------------- */

const boxes = (key: string, ...all: ReadonlyArray<readonly [offsets: ReadonlyArray<number>, sizes: ReadonlyArray<number>]>): Change =>
  (m) => withEntry(m, key, (e) => recut(e, width, all.map(([offsets, sizes]) => ({ offsets, sizes }))))
/** Every tensor cut along an axis into parts of the given sizes, cyclically. */
const cut = (axisOf: (rank: number) => number, sizes: ReadonlyArray<number>): Change => tensors((e) => {
  const axis = axisOf(e.shape.length)
  const parts: Array<Pick<Chunk, "offsets" | "sizes">> = []
  for (let at = 0, i = 0; at < e.shape[axis]!; i++) {
    const size = Math.min(sizes[i % sizes.length]!, e.shape[axis]! - at)
    parts.push({ offsets: e.shape.map((_, k) => (k === axis ? at : 0)), sizes: e.shape.map((n, k) => (k === axis ? size : n)) })
    at += size
  }
  return recut(e, width, parts)
})

const boxCases: Readonly<Record<string, Change>> = {
  "one-chunk-each": tensors((e) => recut(e, width, [{ offsets: e.shape.map(() => 0), sizes: e.shape }])),
  "tensor-parallel-2": cut((rank) => rank - 1, [8]),
  "tensor-parallel-4-rows": cut((rank) => Math.max(0, rank - 2), [4]),
  "uneven-rows": cut((rank) => Math.max(0, rank - 2), [5, 1, 7]),
  "uneven-columns": cut((rank) => rank - 1, [1, 2, 3, 5]),
  "single-elements": (m) => withEntry(m, NORM, (e) => recut(e, width, Array.from({ length: 16 }, (_, i) => ({ offsets: [i], sizes: [1] })))),
  "a-grid": boxes(EMBEDDING, [[0, 0], [7, 5]], [[0, 5], [7, 11]], [[7, 0], [13, 5]], [[7, 5], [13, 11]]),
  "uneven-grid": boxes(EMBEDDING, [[0, 0], [3, 16]], [[3, 0], [17, 4]], [[3, 4], [10, 12]], [[13, 4], [7, 12]]),
  "a-pinwheel": boxes(EMBEDDING, [[0, 0], [5, 10]], [[0, 10], [15, 6]], [[15, 5], [5, 11]], [[5, 0], [15, 5]], [[5, 5], [10, 5]]),
  "chunks-in-any-order": (m) => ({ ...both(cut((rank) => Math.max(0, rank - 2), [3]))(m), entries: both(cut((rank) => Math.max(0, rank - 2), [3]))(m).entries.map((e) => (isTensor(e) ? { ...e, chunks: [...e.chunks].reverse() } : e)) }),
  "an-empty-chunk-more": (m) => withEntry(m, EMBEDDING, (e) => ({ ...e, chunks: [...e.chunks, { offsets: [20, 0], sizes: [0, 16], data: Buffer.alloc(0) }] })),
  "an-empty-chunk-inside-another": (m) => withEntry(m, EMBEDDING, (e) => ({ ...e, chunks: [{ offsets: [3, 5], sizes: [4, 0], data: Buffer.alloc(0) }, ...e.chunks] })),
  // torch's table of places has one entry for both.
  "an-empty-chunk-where-another-begins": (m) => withEntry(
    { ...m, places: (all) => all.filter((p) => p.key !== NORM || p.index !== 0) },
    NORM,
    (e) => ({ ...e, chunks: [{ offsets: [0], sizes: [0], data: Buffer.alloc(0) }, ...e.chunks] })
  ),
  "every-chunk-listed-by-three-ranks": (m) => ({
    ...tensors((e) => ({ ...e, chunks: [...e.chunks, ...e.chunks, ...e.chunks] }))(m),
    places: (all) => all.filter((p, i) => all.findIndex((q) => q.key === p.key && String(q.offsets) === String(p.offsets)) === i)
  }),
  "halves-swapped": (m) => withEntry(m, FC1, (e) => ({ ...e, chunks: [...e.chunks].reverse() }))
}

/** Keys ------------------------------------------------------------------------------------------------------------------ */

/** `decoder.layers.x [L, …]` as `decoder.layers.0.x`, `decoder.layers.1.x` … */
const indexed: Change = (m) => ({
  ...m,
  entries: m.entries.flatMap((e): ReadonlyArray<Entry> => {
    const match = /^(decoder\.layers)\.(.*)$/.exec(e.key)
    if (!match) return [e]
    if (!isTensor(e)) {
      const [, layer] = /shard_(\d+)_/.exec(e.key)!
      return [{ ...e, key: `${match[1]}.${layer}.${match[2]!.replace(/\/shard_.*/, "/shard_0_1")}` }]
    }
    const whole = joined(e, width)
    const per = whole.length / e.shape[0]!
    return Array.from({ length: e.shape[0]! }, (_, layer): TensorEntry => ({
      ...e,
      key: `${match[1]}.${layer}.${match[2]}`,
      shape: e.shape.slice(1),
      chunks: [{ offsets: e.shape.slice(1).map(() => 0), sizes: e.shape.slice(1), data: whole.subarray(layer * per, (layer + 1) * per) }]
    }))
  })
})
const padded = (key: string, rows: number): Change => (m) => m.entries.some((e) => e.key === key)
  ? withEntry(m, key, (e) => {
    const whole = joined(e, width)
    const data = Buffer.concat([whole, Buffer.alloc((rows - e.shape[0]!) * e.shape[1]! * width, 0x77)])
    const shape = [rows, e.shape[1]!]
    return { ...e, shape, chunks: [{ offsets: [0, 0], sizes: shape, data }] }
  })
  : m
const moment = (state: string) => (e: TensorEntry): TensorEntry => float32(`optimizer.state.${state}.module.${e.key}`, e.shape, e.chunks.map((c) => ({ offsets: c.offsets, sizes: c.sizes, data: Buffer.alloc((c.data.length / width) * 4, 3) })))
const EMPTY: Py = tensorValue({ dtype: "uint8", shape: [0], data: Buffer.alloc(0) })

const keyCases: Readonly<Record<string, Change>> = {
  "indexed-layers": indexed,
  "indexed-and-wrapped": both(indexed, renamed((k) => (k.startsWith("common_state") ? k : `module.${k}`))),
  "wrapped-once": renamed((k) => (k.startsWith("common_state") ? k : `module.${k}`)),
  "wrapped-twice": renamed((k) => (k.startsWith("common_state") ? k : `module.module.${k}`)),
  "padded-vocabulary": both(padded(EMBEDDING, 32), padded("output_layer.weight", 32)),
  "padded-by-one-row": both(padded(EMBEDDING, 21), padded("output_layer.weight", 24)),
  "with-optimizer": (m) => more(...m.entries.filter(isTensor).flatMap((e) => ["exp_avg", "exp_avg_sq", "fp32_param"].map((s) => moment(s)(e))))(m),
  "with-chained-optimizers": (m) => more(...m.entries.filter(isTensor).map((e) => ({ ...moment("exp_avg")(e), key: `chained_0.optimizer.state.exp_avg.${e.key}` })))(m),
  "with-bucket-optimizer": more(float32("optimizer.distributed.dp_group_idx_0.gbuf_idx_0.dtype_(torch.bfloat16, torch.float32).bucket_idx_0.exp_avg", [4560])),
  "with-random-state": more({ kind: "object", key: "rng_state/shard_0.0_1.1", item: objectItem(dict(["np_rng_state", call("numpy.core.multiarray _reconstruct", g("numpy ndarray"), [0], "b")])) }),
  "with-scheduler": more({ kind: "object", key: "opt_param_scheduler/shard_0_1", item: objectItem(dict(["max_lr", { float: 1e-4 }])) }, { kind: "object", key: "rerun_state_machine_state/shard_0_1", item: objectItem(dict()) }),
  "without-extra-states": (m) => ({ ...m, entries: m.entries.filter((e) => !e.key.includes("_extra_state")) }),
  "extra-states-none": objects(() => objectItem(null)),
  "extra-states-empty-tensors": objects(() => archive({ list: [EMPTY] }, [["0", Buffer.alloc(0)]])),
  "extra-states-fp8-blobs": objects(() => archive({ list: [tensorValue({ dtype: "uint8", shape: [64], data: Buffer.alloc(64, 9) })] }, [["0", Buffer.alloc(64, 9)]])),
  "extra-states-bytesio": objects(() => objectItem(call("_io BytesIO", "blob"))),
  "extra-states-unreadable": objects(() => Buffer.from("whatever Transformer Engine put there")),
  "extra-states-shared": (m) => ({
    ...m,
    places: (all) => {
      const shared = all.find((p) => String(p.key).includes("_extra_state"))!
      return all.map((p) => (String(p.key).includes("_extra_state") ? { ...p, offset: shared.offset, length: shared.length } : p))
    }
  }),
  "core-attention-extra-states": (m) => more(...[0, 1].map((i) => ({ kind: "object" as const, key: `decoder.layers.self_attention.core_attention._extra_state/shard_${i}_2`, item: objectItem(null) })))(m)
}

/** `.metadata` ----------------------------------------------------------------------------------------------------------- */

const SHARDED = "torch.distributed._shard.sharded_tensor.metadata"
const STORAGE_META = instance(`${DCP} StorageMeta`, { checkpoint_id: "/ckpt/iter_0000000", save_id: "6f9619ff-8b86-d011-b42d-00cf4fc964ff", load_id: null, modules: list() })
const PLAN = (classId: string): Py => instance(classId, {
  items: list(instance("torch.distributed.checkpoint.planner WriteItem", {
    index: instance(`${DCP} MetadataIndex`, { fqn: NORM, index: 0, offset: call("torch Size", [0]) }),
    type: call("torch.distributed.checkpoint.planner WriteItemType", 2),
    bytes_io_data: instance("torch.distributed.checkpoint.planner BytesIOWriteData", { nbytes: 3 }),
    tensor_data: instance("torch.distributed.checkpoint.planner TensorWriteData", { chunk: null, properties: null, size: call("torch Size", [16]) })
  })),
  storage_data: instance(`${FILESYSTEM} _StoragePrefix`, { prefix: "__0_" }),
  planner_data: null
})

const metadataCases: Readonly<Record<string, Change>> = {
  "protocol-2": metadata({ pickle: { protocol: 2 } }),
  "protocol-3": metadata({ pickle: { protocol: 3 } }),
  "protocol-4": metadata({ pickle: { protocol: 4 } }),
  "protocol-5": metadata({ pickle: { protocol: 5 } }),
  "no-memo": metadata({ pickle: { memo: false } }),
  "no-memo-protocol-2": metadata({ pickle: { protocol: 2, memo: false } }),
  "torch-2.2": metadata({ properties: `${SHARDED} TensorProperties`, memoryFormat: call(`${SHARDED} MEM_FORMAT_ENCODING`, 0) }),
  "torch-2.2-protocol-2": metadata({ properties: `${SHARDED} TensorProperties`, memoryFormat: call(`${SHARDED} MEM_FORMAT_ENCODING`, 0), pickle: { protocol: 2 } }),
  "torch-2.3": metadata({ memoryFormat: call(`${DCP} MEM_FORMAT_ENCODING`, 0) }),
  "torch-2.4": metadata({ more: { storage_meta: STORAGE_META } }),
  "torch-2.9": metadata({ more: { storage_meta: STORAGE_META, version: "1.0.0" } }),
  "enum-by-getattr": metadata({ memoryFormat: call("builtins getattr", g(`${DCP} _MEM_FORMAT_ENCODING`), "TORCH_CONTIGUOUS_FORMAT") }),
  "enum-by-getattr-protocol-2": metadata({ memoryFormat: call("__builtin__ getattr", g(`${DCP} _MEM_FORMAT_ENCODING`), "TORCH_CONTIGUOUS_FORMAT"), pickle: { protocol: 2 } }),
  "channels-last": metadata({ memoryFormat: call(`${DCP} _MEM_FORMAT_ENCODING`, 1) }),
  "preserve-format": metadata({ memoryFormat: call(`${DCP} _MEM_FORMAT_ENCODING`, 2) }),
  "layout-as-a-value": metadata({ layout: g("torch strided") }),
  "properties-with-strides": metadata({ state: (s) => [...s, call("torch Size", [1])] }),
  "requires-grad-pinned": metadata({ state: ([d, l, , m]) => [d!, l!, true, m!, true] }),
  "posix-path": metadata({ more: { storage_meta: instance(`${DCP} StorageMeta`, { checkpoint_id: call("pathlib PosixPath", "/", "ckpt", "iter_0000000"), save_id: "x", load_id: null, modules: list() }) } }),
  "posix-path-3.13": metadata({ more: { storage_meta: instance(`${DCP} StorageMeta`, { checkpoint_id: call("pathlib._local PosixPath", "/ckpt"), save_id: null, load_id: null }) } }),
  "windows-path": metadata({ more: { storage_meta: instance(`${DCP} StorageMeta`, { checkpoint_id: call("pathlib WindowsPath", "C:\\", "ckpt") }) } }),
  "saved-plans": metadata({ more: { all_local_plans: list(PLAN("torch.distributed.checkpoint.planner SavePlan")) } }),
  "megatron-0.12": metadata({ more: { mcore_data: dict(), all_local_plans: list(PLAN("megatron.core.dist_checkpointing.strategies.torch MCoreSavePlan")) } }),
  "megatron-0.15": metadata({ root: "megatron.core.dist_checkpointing.strategies.torch MCoreMetadata", more: { mcore_data: dict() } }),
  "megatron-0.15-flattened": both(
    more(float32("optimizer.state.exp_avg.output_layer.weight", [1, 1, 320])),
    metadata({
      root: "megatron.core.dist_checkpointing.strategies.torch MCoreMetadata",
      more: { mcore_data: dict(["optimizer.state.exp_avg.output_layer.weight", dict(["nd_reformulated_orig_global_shape", [20, 16]])]) }
    })
  ),
  "unknown-attributes": metadata({ more: { something: list(1, 2, { float: 3 }), another: dict(["a", null]) } }),
  "planner-data": metadata({ planner: dict(...["model", "x"].map((k) => [k, [k, 0]] as const)) }),
  "ordered-dict-planner": metadata({ planner: call("collections OrderedDict") }),
  "sizes-as-tuples": metadata({ size: (s) => s as Py }),
  "sizes-as-lists": metadata({ size: (s) => list(...s) }),
  "no-index-hints": metadata({ index: () => null }),
  "wrong-index-hints": metadata({ index: () => 99 }),
  "transforms-none": (m) => ({ ...m, places: (all) => all.map((p) => ({ ...p, more: { transform_descriptors: null } })) }),
  "transforms-empty": (m) => ({ ...m, places: (all) => all.map((p) => ({ ...p, more: { transform_descriptors: list() } })) }),
  "object-offset-none": metadata({ storage: (all) => all.map(([k, v]) => {
    const state = (k as { state: { dict: ReadonlyArray<readonly [Py, Py]> } }).state.dict
    return [state.some(([name]) => name === "offset") ? k : { ...(k as object), state: attributes({ ...Object.fromEntries(state), offset: null }) } as Py, v]
  }) }),
  "tables-reversed": metadata({ entries: (all) => [...all].reverse(), storage: (all) => [...all].reverse() }),
  "storage-shuffled": metadata({ storage: (all) => [...all].sort((a, b) => JSON.stringify(a).length - JSON.stringify(b).length) }),
  "strings-beyond-64k": metadata({ more: { note: "x".repeat(100_000) } })
}

/** Files ----------------------------------------------------------------------------------------------------------------- */

const hash = (text: string): number => [...text].reduce((h, c) => (h * 31 + c.charCodeAt(0)) >>> 0, 7)

const fileCases: Readonly<Record<string, Change>> = {
  "gaps": (m) => ({ ...m, gap: 37 }),
  "large-gaps": (m) => ({ ...m, gap: 10_000 }),
  "items-reversed": (m) => ({ ...m, order: (all) => [...all].reverse() }),
  "bytes-at-the-end": (m) => ({ ...m, dataFile: (_, b) => Buffer.concat([b, Buffer.from("unreferenced")]) }),
  "bytes-at-the-start": (m) => ({ ...m, places: (all) => all.map((p) => ({ ...p, offset: (p.offset as number) + 100 })), dataFile: (_, b) => Buffer.concat([Buffer.alloc(100, 1), b]) }),
  "many-files": (m) => ({ ...m, fileOf: (key) => `__${hash(key) % 9}_0.distcp` }),
  "a-file-per-item": (m) => ({ ...m, fileOf: (_, n) => `__0_${n}.distcp` }),
  "prefixed-names": (m) => ({ ...m, fileOf: (key) => `${key.startsWith("decoder") ? "model" : "other"}__0_0.distcp` }),
  "odd-names": (m) => ({ ...m, fileOf: (key) => ["a b.distcp", "ü-模型", "-rf", "...", "metadata", "x'\"$`"][hash(key) % 6]! }),
  "longest-name": (m) => ({ ...m, fileOf: () => "n".repeat(255) }),
  "other-files": (m) => ({ ...m, others: [[`${ITER}/__7_7.distcp`, Buffer.from("left over")], [`${ITER}/integrity.json`, Buffer.from("{}")], [`${ITER}/hf/config.json`, Buffer.from("{")], ["energon/x.pt", Buffer.from("x")]] }),
  "common-pt-only": (m) => ({ ...m, entries: m.entries.filter((e) => e.key !== "common_state/shard_0_1") }),
  "common-object-only": withoutFiles(`${ITER}/common.pt`),
  "common-with-arguments": file("common.pt", commonWith()),
  "no-train-state": withoutFiles(`${ITER}/train_state.pt`),
  "no-run-config": withoutFiles(`${ITER}/run_config.yaml`),
  "run-config-unreadable": file("run_config.yaml", "a: [1, 2\nb: }"),
  "run-config-with-tags": file("run_config.yaml", "model: !!python/object/apply:os.system ['touch /tmp/owned']\n"),
  "backend-two-keys": file("metadata.json", "{\"sharded_backend\": \"torch_dist\", \"sharded_backend_version\": 1}"),
  "backend-more-keys": file("metadata.json", "{\"sharded_backend\":\"torch_dist\",\"sharded_backend_version\":2,\"note\":[1,{}]}\n"),
  "only-the-text-tracker": withoutFiles(PT),
  "only-the-train-state-tracker": withoutFiles(TXT),
  "tracker-with-newline": trackers({ [TXT]: "0\n" }),
  "release": (m) => ({ ...trackers({ [TXT]: "release" })(m), folder: "release", without: [PT] }),
  "two-iterations": (m) => ({ ...m, others: [["iter_0000005/unfinished.distcp", Buffer.from("x")]] })
}

/** The common state of a Megatron-LM training run: an `argparse.Namespace` full of classes. */
function commonWith(): Uint8Array {
  return archive(dict(
    ["checkpoint_version", { float: 3 }],
    ["iteration", 0],
    ["args", { instance: "argparse Namespace", state: attributes({
      num_layers: 2,
      params_dtype: g("torch bfloat16"),
      attention_backend: call("megatron.core.transformer.enums AttnBackend", 5),
      exit_signal: call("signal Signals", 15),
      data: call("numpy.core.multiarray scalar", call("numpy dtype", "f8", false, true), "x"),
      path: call("pathlib PosixPath", "/", "data"),
      function: g("megatron.training.utils print_rank_0"),
      set: call("builtins set", list("a", "b")),
      nested: call("builtins getattr", g("megatron.core.enums Outer"), "Inner")
    }) }],
    ["content_metadata", dict(["singleton_local_shards", false])]
  ), [], { root: "common" })
}

const folder = (id: string, path: string, change: (files: FileSet) => FileSet, base: Megatron, architecture: Architecture): GoodCase =>
  ({ id: `folder/${id}`, path, files: () => change(filesOf(base)), architecture })

const below = (prefix: string) => (files: FileSet): FileSet => new Map([...files].map(([name, node]) => [`${prefix}/${name}`, node]))

export const megatronGood = (bases: Bases): ReadonlyArray<GoodCase> => [
  ...Object.entries({ item: itemCases, view: viewCases, box: boxCases, key: keyCases, metadata: metadataCases, file: fileCases }).flatMap(([group, cases]) =>
    Object.entries(cases).map(([id, change], i): GoodCase => {
      const architecture = architectures[i % 3]!
      return { id: `${group}/${id}`, files: () => filesOf(change(bases[architecture])), architecture }
    })),
  folder("the-iteration-itself", ITER, (f) => f, bases.llama, "llama"),
  folder("the-iteration-alone", "x", (f) => new Map([...f].flatMap(([n, node]) => (n.startsWith(`${ITER}/`) ? [[`x/${n.slice(ITER.length + 1)}`, node] as const] : []))), bases.qwen2, "qwen2"),
  folder("a-link", "there", (f) => new Map<string, Node>([...below("real")(f), ["there", link("real")]]), bases.qwen3, "qwen3"),
  folder("the-iteration-is-a-link", "", (f) => new Map<string, Node>([...[...f].map(([n, node]) => [n.replace(ITER, "elsewhere"), node] as const), [ITER, link("elsewhere")]]), bases.llama, "llama"),
  folder("odd-name", "ü 'x' $y", below("ü 'x' $y"), bases.qwen2, "qwen2"),
  folder("hub-cache", "models--m/snapshots/ab", (f) => new Map<string, Node>([...f].flatMap(([n, node], i) => [
    [`models--m/blobs/${i}`, node],
    [`models--m/snapshots/ab/${n}`, link(`${n.includes("/") ? "../" : ""}../../blobs/${i}`)]
  ])), bases.qwen3, "qwen3")
]

