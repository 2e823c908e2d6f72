/** Stored tensors whose archive, pickle or storage is not what torch writes. `.metadata` is sound, so only an export notices. */
import type { BadCase } from "./Case.ts"
import { archive, HOOKS, type ItemStyle, storageId, tensorItem, type TensorParts, tensorValue } from "./Item.ts"
import type { Bases } from "./megatronBadFolders.ts"
import { type Chunk, filesOf, type Megatron, type TensorEntry, withChunk } from "./Megatron.ts"
import { call, g, list, type Py } from "./Pickle.ts"
import { architectures } from "./Toy.ts"
import type { EndFields, ZipEntry } from "./Zip.ts"

const EMBEDDING = "embedding.word_embeddings.weight"
const FILE = "__0_0.distcp"

/** The embedding, BF16 [20,16] in one chunk of 640 bytes. */
const partsOf = (c: Chunk, e: TensorEntry): TensorParts => ({ dtype: e.dtype, shape: c.sizes, data: c.data })

const item = (id: string, make: (parts: TensorParts) => Uint8Array, ...says: ReadonlyArray<string>) => ({ id, make, says })
const styled = (id: string, style: ItemStyle, ...says: ReadonlyArray<string>) => item(id, (p) => tensorItem(p, style), ...says)
const record = (id: string, name: string, change: Partial<ZipEntry>, ...says: ReadonlyArray<string>) =>
  styled(id, { records: (all) => all.map((r) => (r.name === `archive/${name}` ? { ...r, ...change } : r)) }, ...says)
const content = (id: string, name: string, text: string, ...says: ReadonlyArray<string>) => record(id, name, { content: Buffer.from(text) }, ...says)
const without = (id: string, name: string, ...says: ReadonlyArray<string>) => styled(id, { records: (all) => all.filter((r) => r.name !== `archive/${name}`) }, ...says)
const end = (id: string, change: Partial<EndFields>, ...says: ReadonlyArray<string>) => styled(id, { zip: { end: (f) => ({ ...f, ...change }) } }, ...says)
const end32 = (id: string, change: (f: EndFields) => Partial<EndFields>, ...says: ReadonlyArray<string>) => styled(id, { zip: { zip64: false, end: (f) => ({ ...f, ...change(f) }) } }, ...says)
const value = (id: string, change: (v: Py, p: TensorParts) => Py, ...says: ReadonlyArray<string>) => item(id, (p) => tensorItem(p, { value: (v) => change(v, p) }), ...says)
/** The arguments of the call that rebuilds the tensor. */
const args = (id: string, change: (a: ReadonlyArray<Py>) => ReadonlyArray<Py>, ...says: ReadonlyArray<string>) =>
  value(id, (v) => ({ ...(v as { call: Py; args: ReadonlyArray<Py> }), args: change((v as { args: ReadonlyArray<Py> }).args) }), ...says)
const bytes = (id: string, change: (b: Buffer) => Uint8Array, ...says: ReadonlyArray<string>) => styled(id, { bytes: change }, ...says)

const items = [
  // The archive
  bytes("zip/zeros", (b) => Buffer.alloc(b.length), "byte"),
  bytes("zip/text", () => Buffer.from("not an archive at all, though long enough"), "ZIP"),
  bytes("zip/raw-data", (b) => b.subarray(640, 1280), "ZIP"),
  bytes("zip/old-torch", () => Buffer.concat([Buffer.from([0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]), Buffer.alloc(100)]), "pickle"),
  bytes("zip/tar", () => Buffer.concat([Buffer.from("archive/data.pkl"), Buffer.alloc(241), Buffer.from("ustar\0"), Buffer.alloc(800)]), "ZIP"),
  bytes("zip/cut-by-one", (b) => b.subarray(0, b.length - 1), "end record"),
  bytes("zip/cut-in-the-directory", (b) => b.subarray(0, b.length - 150), "end record"),
  bytes("zip/cut-in-half", (b) => b.subarray(0, b.length / 2), "end record"),
  bytes("zip/four-bytes", (b) => b.subarray(0, 4), "byte"),
  styled("zip/trailing-bytes", { zip: { after: Buffer.from("trailing") } }, "end record"),
  styled("zip/leading-bytes", { zip: { before: Buffer.from("#!/bin/sh\n") } }, "ZIP"),
  bytes("zip/two-archives", (b) => Buffer.concat([b, b]), "byte"),
  styled("zip/gap-before-the-directory", { zip: { gap: Buffer.alloc(8), end: (f) => ({ ...f, offset: f.offset - 8, offset64: f.offset64 - 8 }) } }, "directory"),
  end32("zip/more-records", (f) => ({ count: f.count + 1, countHere: f.count + 1 }), "byte"),
  end32("zip/fewer-records", (f) => ({ count: f.count - 1, countHere: f.count - 1 }), "directory"),
  end32("zip/no-records", () => ({ count: 0, countHere: 0 }), "byte"),
  end32("zip/larger-directory", (f) => ({ size: f.size + 10 }), "directory"),
  end32("zip/smaller-directory", (f) => ({ size: f.size - 10 }), "directory"),
  end32("zip/directory-elsewhere", (f) => ({ offset: f.offset + 4 }), "directory"),
  end32("zip/directory-past-the-end", () => ({ offset: 0x7fffffff }), "directory"),
  end32("zip/other-disk", () => ({ disk: 1 }), "disks"),
  end32("zip/counts-differ", (f) => ({ countHere: f.count - 1 }), "disks"),
  end("zip64/count", { count64: 1 }, "disagree"),
  end("zip64/count-huge", { count64: 2 ** 40, count: 0xffff, countHere: 0xffff }, "records"),
  end("zip64/size-huge", { size64: 2 ** 50, size: 0xffffffff }, "byte"),
  end("zip64/offset-huge", { offset64: 2 ** 53 - 1, offset: 0xffffffff }, "directory"),
  end("zip64/locator-elsewhere", { locator: 0 }, "locator"),
  end("zip64/locator-past-the-end", { locator: 2 ** 50 }, "locator"),
  record("zip/compressed", "data/0", { deflate: true }, "compressed", "data/0"),
  record("zip/method-only", "data/0", { method: 8 }, "compressed", "data/0"),
  record("zip/unknown-method", "data.pkl", { method: 99 }, "compressed", "data.pkl"),
  record("zip/encrypted", "data/0", { flags: 0x0809 }, "encrypted", "data/0"),
  record("zip/strongly-encrypted", "data.pkl", { flags: 0x0848 }, "encrypted", "data.pkl"),
  record("zip/masked", "data/0", { flags: 0x2808 }, "encrypted", "data/0"),
  record("zip/crc-of-the-pickle", "data.pkl", { crc: 0x12345678 }, "CRC", "data.pkl"),
  record("zip/crc-of-the-version", "version", { crc: 0x12345678 }, "CRC", "version"),
  record("zip/crc-of-the-data", "data/0", { crc: 0x12345678 }, "CRC"),
  record("zip/size-larger", "data/0", { size: 641, compressed: 641 }, "data/0"),
  record("zip/size-smaller", "data/0", { size: 639, compressed: 639 }, "639"),
  record("zip/size-lies", "data/0", { size: 1280 }, "data/0", "640"),
  record("zip/size-4GB", "data/0", { size: 0xfffffffe, compressed: 0xfffffffe }, "data/0"),
  record("zip/size-missing-zip64", "data/0", { size: 0xffffffff, compressed: 0xffffffff }, "64-bit", "data/0"),
  record("zip/pickle-larger", "data.pkl", { size: 10_000, compressed: 10_000 }, "data.pkl"),
  record("zip/header-elsewhere", "data/0", { headerOffset: 100 }, "byte"),
  record("zip/header-of-another", "data/0", { headerOffset: 0 }, "byte"),
  record("zip/header-past-the-end", "data/0", { headerOffset: 1_000_000 }, "byte"),
  record("zip/local-name", "data/0", { localName: "archive/data/1" }, "name", "data/0"),
  styled("zip/local-size", { zip: { streamed: false }, records: (all) => all.map((r) => (r.name === "archive/data/0" ? { ...r, localSize: 12 } : r)) }, "local header", "data/0"),
  record("zip/on-another-disk", "data/0", { disk: 1 }, "disk", "data/0"),
  styled("zip/duplicate", { records: (all) => [...all, { name: "archive/data/0", content: Buffer.alloc(640, 1) }] }, "data/0"),
  styled("zip/duplicate-pickle", { records: (all) => [...all, all[0]!] }, "data.pkl"),
  styled("zip/two-roots", { records: (all) => [...all, { ...all[0]!, name: "other/data.pkl" }] }, "data.pkl"),
  styled("zip/no-root", { root: "" }, "data.pkl"),
  styled("zip/only-parents", { root: ".." , records: (all) => all.filter((r) => !r.name.endsWith("data.pkl")) }, "data.pkl"),
  without("zip/no-pickle", "data.pkl", "data.pkl"),
  without("zip/no-data", "data/0", "data/0"),
  without("zip/no-version", "version", "version"),
  content("zip/version-zero", "version", "0\n", "version"),
  content("zip/version-huge", "version", "9999999999\n", "version"),
  content("zip/version-text", "version", "three", "version"),
  content("zip/big-endian", "byteorder", "big", "endian"),
  content("zip/no-endian", "byteorder", "middle", "endian"),
  content("zip/data-short", "data/0", "x".repeat(639), "639"),
  content("zip/data-long", "data/0", "x".repeat(641), "641"),
  content("zip/data-empty", "data/0", "", "0 bytes"),
  // The pickle
  value("pickle/gadget", () => call("os system", "touch /tmp/owned"), "os.system", "data.pkl"),
  value("pickle/eval", () => call("builtins eval", "1"), "builtins.eval", "data.pkl"),
  value("pickle/gadget-as-hooks", (v) => ({ ...(v as { call: Py; args: ReadonlyArray<Py> }), args: [...(v as { args: ReadonlyArray<Py> }).args.slice(0, 5), call("posix system", "id")] }), "posix.system"),
  value("pickle/unknown-rebuilder", (v) => ({ ...(v as { args: ReadonlyArray<Py> }), call: g("torch._utils _rebuild_device_tensor_from_numpy") }), "_rebuild_device_tensor_from_numpy"),
  value("pickle/sparse", (v) => call("torch._utils _rebuild_sparse_tensor", g("torch strided"), [v]), "_rebuild_sparse_tensor"),
  value("pickle/quantized", (v) => call("torch._utils _rebuild_qtensor", v), "_rebuild_qtensor"),
  value("pickle/numpy", () => call("numpy.core.multiarray _reconstruct", g("numpy ndarray"), [0], "b"), "numpy"),
  value("pickle/a-dict", (v) => ({ dict: [["weight", v]] }), "not a tensor"),
  value("pickle/a-list", (v) => list(v), "not a tensor"),
  value("pickle/none", () => null, "not a tensor"),
  value("pickle/a-number", () => 1, "not a tensor"),
  styled("pickle/cut", { pickled: (b) => b.subarray(0, b.length - 10) }, "data.pkl", "byte"),
  styled("pickle/empty", { pickled: () => Buffer.alloc(0) }, "data.pkl"),
  styled("pickle/trailing", { pickled: (b) => Buffer.concat([b, b]) }, "data.pkl"),
  styled("pickle/protocol-0", { pickled: () => Buffer.from("I1\n.") }, "data.pkl", "protocol"),
  styled("pickle/opcode", { pickled: (b) => Buffer.concat([b.subarray(0, 2), Buffer.from("(ios\nsystem\n."), b.subarray(2)]) }, "data.pkl", "opcode"),
  styled("pickle/deep", { pickled: () => Buffer.concat([Buffer.of(0x80, 2), Buffer.alloc(500_000, 0x5d), Buffer.alloc(499_999, 0x61), Buffer.of(0x2e)]) }, "not a tensor"),
  // The storage
  args("storage/none", ([, ...a]) => [null, ...a], "storage"),
  args("storage/a-string", ([, ...a]) => ["data/0", ...a], "storage"),
  args("storage/key-a-path", ([, ...a]) => [storageId("torch BFloat16Storage", "../../etc/passwd", 320), ...a], "key"),
  args("storage/key-negative", ([, ...a]) => [storageId("torch BFloat16Storage", "-1", 320), ...a], "key"),
  args("storage/key-absent", ([, ...a]) => [storageId("torch BFloat16Storage", "7", 320), ...a], "data/7"),
  args("storage/elements-more", ([, ...a]) => [storageId("torch BFloat16Storage", "0", 321), ...a], "642"),
  args("storage/elements-fewer", ([, ...a]) => [storageId("torch BFloat16Storage", "0", 10), ...a], "storage of 10"),
  args("storage/elements-negative", ([, ...a]) => [storageId("torch BFloat16Storage", "0", -1), ...a], "integer"),
  args("storage/elements-overflow", ([, ...a]) => [{ persistent: ["storage", g("torch BFloat16Storage"), "0", "cpu", 2 ** 53 - 1] }, ...a], "byte"),
  args("storage/class-unknown", ([, ...a]) => [storageId("torch QInt8Storage", "0", 640), ...a], "QInt8Storage"),
  args("storage/class-a-dtype", ([, ...a]) => [storageId("torch bfloat16", "0", 320), ...a], "bfloat16"),
  args("storage/typed-for-v2", ([, ...a]) => [storageId("torch.storage UntypedStorage", "0", 640), ...a], "UntypedStorage"),
  args("storage/short-id", ([, ...a]) => [{ persistent: ["storage", g("torch BFloat16Storage")] }, ...a], "storage"),
  args("storage/other-kind-of-id", ([, ...a]) => [{ persistent: ["module", g("torch BFloat16Storage"), "0", "cpu", 320] }, ...a], "storage"),
  // The view
  args("view/offset-negative", ([s, , ...a]) => [s!, -1, ...a], "integer"),
  args("view/offset-too-far", ([s, , ...a]) => [s!, 1, ...a], "leaves its storage"),
  args("view/offset-huge", ([s, , ...a]) => [s!, 2 ** 53 - 1, ...a], "leaves its storage"),
  args("view/stride-negative", ([s, o, z, , ...a]) => [s!, o!, z!, [16, -1], ...a], "integer"),
  args("view/stride-too-large", ([s, o, z, , ...a]) => [s!, o!, z!, [17, 1], ...a], "leaves its storage"),
  args("view/stride-overflow", ([s, o, z, , ...a]) => [s!, o!, z!, [2 ** 52, 2 ** 52], ...a], "leaves its storage"),
  args("view/size-larger", ([s, o, , ...a]) => [s!, o!, [21, 16], ...a], "leaves its storage"),
  args("view/size-other", ([s, o, , ...a]) => [s!, o!, [16, 20], ...a], "[16,20]", "[20,16]"),
  args("view/size-flat", ([s, o, , , ...a]) => [s!, o!, [320], [1], ...a], "[320]"),
  args("view/size-smaller", ([s, o, , ...a]) => [s!, o!, [10, 16], ...a], "[10,16]"),
  args("view/size-negative", ([s, o, , ...a]) => [s!, o!, [-20, 16], ...a], "integer"),
  args("view/size-empty", ([s, o, , , ...a]) => [s!, o!, [0, 16], [16, 1], ...a], "[0,16]"),
  args("view/size-a-list", ([s, o, , ...a]) => [s!, o!, list(20, 16), ...a], "tuples"),
  args("view/size-overflow", ([s, o, , ...a]) => [s!, o!, [2 ** 50, 2 ** 50], ...a], "byte"),
  args("view/ranks-differ", ([s, o, z, , ...a]) => [s!, o!, z!, [1], ...a], "strides"),
  args("view/65-axes", ([s, o, , , ...a]) => [s!, o!, new Array<number>(65).fill(1), new Array<number>(65).fill(1), ...a], "64"),
  args("view/too-few-arguments", (a) => a.slice(0, 2), "byte"),
  args("view/conjugate", (a) => [...a, { dict: [["conj", true]] }], "extra state"),
  // Another dtype than .metadata says
  ...(["float16", "int16", "float32", "uint8", "bool", "float8_e4m3fn"] as const).map((dtype) =>
    item(`dtype/${dtype}`, (p) => tensorItem({ ...p, dtype, data: Buffer.alloc(320 * ({ float32: 4, float16: 2, int16: 2 } as Record<string, number>)[dtype]! || 320) }), ".metadata says BF16")),
  item("dtype/v3-unknown", (p) => tensorItem(p, { value: () => call("torch._utils _rebuild_tensor_v3", storageId("torch.storage UntypedStorage", "0", 640), 0, [20, 16], [16, 1], false, HOOKS, g("torch complex128")) }), "complex128"),
  item("dtype/v3-missing", (p) => tensorItem(p, { value: () => call("torch._utils _rebuild_tensor_v3", storageId("torch.storage UntypedStorage", "0", 640), 0, [20, 16], [16, 1], false, HOOKS) }), "byte"),
  item("dtype/object-instead", (p) => archive(list(tensorValue(p)), [["0", p.data]]), "not a tensor")
]

const flipped = (base: Megatron, id: string, at: (data: Buffer) => number, ...says: ReadonlyArray<string>): BadCase => ({
  id: `item/flipped/${id}`,
  files: () => filesOf({ ...base, dataFile: (_, b) => { const copy = Buffer.from(b); const i = at(copy); copy[i] = copy[i]! ^ 0x10; return copy } }),
  commands: ["export"],
  says: [FILE, ...says]
})

export const megatronBadItems = (bases: Bases): ReadonlyArray<BadCase> => [
  ...items.map(({ id, make, says }, i): BadCase => ({
    id: `item/${id}`,
    files: () => filesOf(withChunk(bases[architectures[i % 3]!], EMBEDDING, (c, e) => ({ ...c, item: make(partsOf(c, e)) }))),
    commands: ["export"],
    says: [FILE, EMBEDDING, ...says],
    architecture: architectures[i % 3]!
  })),
  flipped(bases.llama, "a-weight", (b) => b.indexOf("data/0") + 100, "CRC"),
  flipped(bases.llama, "the-last-weight", (b) => b.lastIndexOf("data/0", b.lastIndexOf("BFloat16Storage") + 900) + 70, "byte")
]
