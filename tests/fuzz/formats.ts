/** Fuzz targets: the parsers of formats. */
import { readdirSync, readFileSync } from "node:fs"
import { parseJson, parseJsonTree } from "../../src/document/StrictJson.ts"
import { parseRunConfig } from "../../src/runconfig/RunConfigFile.ts"
import { resolveLayout } from "../../src/parallel/Layout.ts"
import { parseComponent } from "../../src/parallel/ModuleParallelism.ts"
import { parseHeader } from "../../src/safetensors/Header.ts"
import { checkIndex, parseIndex } from "../../src/safetensors/ShardIndex.ts"
import { checkMetadata } from "../../src/torch/DcpCheck.ts"
import { decodeMetadata } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { METADATA_GLOBALS } from "../../src/torch/Globals.ts"
import { readArchive } from "../../src/torch/ObjectItem.ts"
import { unpickle } from "../../src/torch/Pickle.ts"
import { pyRead } from "../../src/torch/PyValue.ts"
import { parseBytes } from "../../src/torch/Ranges.ts"
import { parseTensorItem, tensorItem } from "../../src/torch/TensorItem.ts"
import { readTrainState } from "../../src/torch/TrainState.ts"
import { dtypes } from "../../src/tensor/DType.ts"
import { tensorItem as craftedItem } from "../hostile/corpus/Item.ts"
import type { ZipEntry } from "../hostile/corpus/Zip.ts"
import { mutateBytes, mutateTree, print, type Tree } from "./mutate.ts"
import type { Random } from "./Random.ts"
import type { Target } from "./Target.ts"

const FIXTURES = new URL("../fixtures/", import.meta.url)
const fixtures = (folder: string, suffix: string): ReadonlyArray<Buffer> =>
  readdirSync(new URL(`${folder}/`, FIXTURES)).filter((n) => n.endsWith(suffix)).map((n) => readFileSync(new URL(`${folder}/${n}`, FIXTURES)))

/** A header of a few tensors, most of them where they should be. */
const header = (r: Random): Uint8Array => {
  const tree: Record<string, Tree> = {}
  let at = 0
  for (let i = r.few(8); i >= 0; i--) {
    const shape = Array.from({ length: r.few(4) }, () => r.few(5))
    const bytes = shape.reduce((a, b) => a * b, 2)
    tree[r.chance(10) ? r.pick(["__metadata__", "__proto__", "", "\u0000", "é"]) : `t${i}`] = { dtype: r.chance(6) ? r.pick(dtypes) : "BF16", shape, data_offsets: [at, at += bytes] }
  }
  const text = Buffer.from(print(r.chance(3) ? tree : mutateTree(tree, r, ["dtype", "shape", "data_offsets", "__metadata__"])))
  const length = Buffer.alloc(8)
  length.writeUInt32LE(text.length)
  const file = Buffer.concat([length, text, Buffer.alloc(at)])
  return r.chance(3) ? mutateBytes(file, r) : file
}

const index = (r: Random): Uint8Array => {
  const tree: Tree = {
    metadata: { total_size: 12 },
    weight_map: Object.fromEntries(Array.from({ length: 1 + r.few(6) }, (_, i) => [`t${i}`, r.chance(3) ? r.pick(["../x.safetensors", "/x.safetensors", "a/b.safetensors", "x", ""]) : `model-${i % 2}.safetensors`]))
  }
  const text = Buffer.from(print(mutateTree(tree, r, ["weight_map", "metadata"])))
  return r.chance(3) ? mutateBytes(text, r) : text
}

const OPCODES = [...Buffer.from("()*.0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWX]abcdehjlopqrstu}\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98", "latin1")]

/** Opcodes of a stack machine in an order that mostly holds together. */
const opcodes = (r: Random): Uint8Array => {
  const parts: Array<Buffer> = [Buffer.of(0x80, 2 + r.below(4))]
  for (let i = r.below(200); i >= 0; i--) {
    switch (r.below(12)) {
      case 0: parts.push(Buffer.of(0x4b, r.below(256))); break
      case 1: { const text = r.pick(["x", "fqn", "size", "torch", "Size", ""]); parts.push(Buffer.of(0x8c, text.length), Buffer.from(text)); break }
      case 2: parts.push(Buffer.of(r.pick([0x5d, 0x7d, 0x29, 0x28, 0x4e]))); break
      case 3: parts.push(Buffer.of(r.pick([0x61, 0x65, 0x73, 0x75, 0x74, 0x85, 0x86, 0x87, 0x62]))); break
      case 4: parts.push(Buffer.of(0x94)); break
      case 5: parts.push(Buffer.of(0x68, r.below(10))); break
      case 6: parts.push(Buffer.from(`c${r.pick([...METADATA_GLOBALS]).replace(" ", "\n")}\n`)); break
      case 7: parts.push(Buffer.of(r.pick([0x52, 0x81]))); break
      case 8: parts.push(Buffer.of(0x6a, r.below(256), r.below(2), 0, 0)); break
      case 9: parts.push(Buffer.of(0x8a, r.below(12)), Buffer.alloc(r.below(12), r.below(256))); break
      case 10: parts.push(Buffer.alloc(r.few(2000), r.pick([0x5d, 0x7d, 0x28, 0x61]))); break
      default: parts.push(Buffer.of(r.pick(OPCODES)))
    }
  }
  return Buffer.concat([...parts, Buffer.of(0x2e)])
}

/** An archive of a tensor with a header field or two that lie. */
const item = (r: Random): Uint8Array => {
  const lie = (entry: ZipEntry): ZipEntry => {
    if (!r.chance(6)) return entry
    const value = r.pick([0, 1, 8, 64, 639, 640, 641, 0xffff, 0x7fffffff, 0xfffffffe, 0xffffffff])
    return { ...entry, ...r.pick([{ crc: value }, { method: value & 0xffff }, { flags: value & 0xffff }, { localSize: value }, { size: value }, { compressed: value }, { headerOffset: value }, { disk: value & 7 }, { wide: true }, { deflate: true }]) }
  }
  const shape = Array.from({ length: r.few(5) }, () => r.few(6))
  const data = Buffer.alloc(shape.reduce((a, b) => a * b, 2))
  const strides = r.chance(3) ? shape.map(() => r.pick([0, 1, 2, 7, 2 ** 31, 2 ** 53 - 1])) : undefined
  const bytes = craftedItem({ dtype: "bfloat16", shape, data, ...(strides ? { strides } : {}), ...(r.chance(4) ? { offset: r.pick([0, 1, 5, 2 ** 40]) } : {}) }, {
    root: r.pick(["archive", "archive", "a", "", "a/b", ".."]),
    records: (all) => all.map(lie).filter(() => !r.chance(30)),
    zip: {
      align: r.pick([1, 64, 64]),
      streamed: !r.chance(4),
      zip64: !r.chance(4),
      ...(r.chance(5) ? { end: (f) => ({ ...f, [r.pick(Object.keys(f))]: r.pick([0, 1, 5, 2 ** 31, 2 ** 40]) }) } : {})
    }
  })
  return r.chance(3) ? mutateBytes(bytes, r) : Buffer.from(bytes)
}

const WORDS = ["language", "images", "audio", "=", ",", "tp", "pp", "dp", "cp", "ep", "etp", "rank_offset", "0", "1", "2", "8", "1048576", "99999999999999999999", "-1", "+1", "1e3", "0x10", " ", "\t", "\n", "__proto__", "é", "\u0000", "==", ",,"]

const YAML = [
  "a: 1\nb: [1, 2.0, x]\nc: {d: e}\n",
  "model:\n  _target_: megatron.bridge.models.gpt_provider.GPTModelProvider\n  num_layers: 2\n  params_dtype:\n    _call_: false\n    _target_: torch.bfloat16\n",
  "x: &a [1, 2]\ny: *a\nz: !!python/object/apply:os.system ['id']\n",
  "- - - 1\n- ? a\n  : b\n- |\n  text\n",
  "a: .inf\nb: 1.0e-06\nc: 0o17\nd: 0x1f\ne: 190:20:30\nf: ~\n"
]
const YAML_PARTS = ["&a ", "*a", "<<: ", "!!binary ", "!!set ", "? ", ": ", "- ", "[", "]", "{", "}", "|\n", ">\n", "#", "%YAML 1.1\n---\n", "...\n", "\t", "'", "\"", "  ", "\n", "__proto__: 1\n", "- ".repeat(50), "[".repeat(80), "{a: ".repeat(80), "1".repeat(400), "\u0000", "\u2028"]

const yaml = (r: Random): Uint8Array => {
  let text = r.pick(YAML)
  for (let times = 1 + r.few(6); times > 0; times--) {
    const at = r.below(text.length + 1)
    text = r.chance(4) ? text.slice(0, at) + text.slice(at + r.few(10)) : text.slice(0, at) + r.pick(YAML_PARTS) + text.slice(at)
  }
  return r.chance(5) ? mutateBytes(Buffer.from(text), r) : Buffer.from(text)
}

const mutated = (seeds: ReadonlyArray<Uint8Array>) => (r: Random): Uint8Array => mutateBytes(r.pick(seeds), r)

const metadataFiles = fixtures("torch", ".metadata")
const archives = fixtures("torch", ".pt")
const sizes = new Map(Array.from({ length: 4 }, (_, rank) => [`__${rank}_0.distcp`, 2_000_000] as const))
const known = tensorItem("BF16", [2, 3])

const metadata = (input: Uint8Array): void => {
  const found = decodeMetadata(input)
  checkMetadata(found, sizes)
  encodeMetadata(found)
}

export const formats: ReadonlyArray<Target> = [
  { name: "safetensors-header", make: (r) => (r.chance(4) ? mutateBytes(r.pick(fixtures("safetensors", ".safetensors")), r) : header(r)), read: (b) => void parseHeader(b) },
  { name: "shard-index", make: index, read: (b) => checkIndex(parseIndex(b), [{ file: "model-0.safetensors", tensors: [{ name: "t0" }] }, { file: "model-1.safetensors", tensors: [{ name: "t1" }] }]) },
  { name: "json", make: (r) => mutateBytes(Buffer.from(print(mutateTree({ a: [1, 2.5, "x", null, { b: "\u00e9\ud83d\ude00" }], c: { d: true } }, r))), r), read: (b) => { parseJson(b, { allowNonFinite: true }); parseJsonTree(b, { keepFloats: true }) } },
  { name: "run-config", make: yaml, read: (b) => void parseRunConfig(b) },
  { name: "zip-item", make: item, read: (b) => void parseBytes(b, parseTensorItem(b.length)) },
  { name: "tensor-item", make: mutated(archives), read: (b) => { known.crcIn(b.subarray(-known.suffixLength)); parseBytes(b, parseTensorItem(b.length)) } },
  { name: "archive", make: mutated(archives), read: (b) => void readArchive(b) },
  { name: "train-state", make: mutated([readFileSync(new URL("torch/train_state.pt", FIXTURES))]), read: (b) => void readTrainState(b) },
  { name: "pickle", make: (r) => (r.chance(3) ? mutateBytes(opcodes(r), r) : opcodes(r)), read: (b) => void pyRead(unpickle(b, { globals: METADATA_GLOBALS, opaque: true, persistent: true })) },
  { name: "metadata", make: mutated(metadataFiles.filter((b) => b.length < 50_000)), read: metadata },
  {
    name: "component",
    make: (r) => Buffer.from(r.chance(3) ? "language=tp=2,pp=2" : Array.from({ length: 1 + r.few(14) }, () => r.pick(WORDS)).join("")),
    read: (b) => void resolveLayout([parseComponent(Buffer.from(b).toString())], ["language", "images"])
  }
]
