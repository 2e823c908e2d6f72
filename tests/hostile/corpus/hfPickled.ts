/** Hugging Face directories whose weights torch.save wrote: sound ones, unusual ones, and pickles that no writer of weights makes. */
import { torchName } from "../../../src/tensor/DType.ts"
import type { BadCase, GoodCase } from "./Case.ts"
import type { FileSet } from "./FileSet.ts"
import { filesOf, single, SINGLE } from "./Hf.ts"
import { archive, contiguous, tensorValue, type ItemStyle } from "./Item.ts"
import { NAMES, OPCODES } from "./megatronBadPickles.ts"
import { call, dict, type Py, raw } from "./Pickle.ts"
import { type Architecture, architectures, type ToyTensor } from "./Toy.ts"

const FILE = "pytorch_model.bin"

/** A tensor's record, and its value. */
type Stored = (tensor: ToyTensor, key: string) => readonly [value: Py, storage: Uint8Array]

const plain: Stored = ({ data, dtype, shape }, key) => [tensorValue({ data, dtype: torchName(dtype as "BF16")!, shape, key }), data]

/** A file of these tensors and whatever else a state dict is given. */
const pickled = (tensors: ReadonlyArray<ToyTensor>, more: ReadonlyArray<readonly [Py, Py]> = [], stored: Stored = plain, style: ItemStyle = {}): Uint8Array => {
  const made = tensors.map((tensor, i) => [tensor.name, ...stored(tensor, String(i))] as const)
  return archive(dict(...made.map(([name, value]) => [name, value] as const), ...more), made.map(([, , storage], i) => [String(i), storage]), { root: "pytorch_model", ...style })
}

const withFiles = (architecture: Architecture, files: (tensors: ReadonlyArray<ToyTensor>) => ReadonlyArray<readonly [string, Uint8Array | string]>): FileSet => {
  const hf = single(architecture)
  return filesOf({ ...hf, without: [SINGLE], others: files(hf.shards[0]!.tensors).map(([name, content]) => [name, Buffer.from(content as string)]) })
}

const bad = (id: string, i: number, content: (tensors: ReadonlyArray<ToyTensor>) => Uint8Array, ...says: ReadonlyArray<string>): BadCase => {
  const architecture = architectures[i % 3]!
  return { id: `pickled/${id}`, files: () => withFiles(architecture, (tensors) => [[FILE, content(tensors)]]), commands: ["inspect", "import"], says: [FILE, ...says], architecture }
}

const one = (value: Py) => (tensors: ReadonlyArray<ToyTensor>): Uint8Array => pickled(tensors, [["extra", value]])

const view = (change: { readonly offset?: number; readonly strides?: (own: Array<number>) => Array<number> }): Stored => ({ data, dtype, shape }, key) =>
  [tensorValue({ data, dtype: torchName(dtype as "BF16")!, shape, key, offset: change.offset ?? 0, strides: (change.strides ?? ((own) => own))(contiguous(shape)) }), data]

/** Errors name the file, and the byte or the record. */
export const hfBadPickles: ReadonlyArray<BadCase> = [
  ...NAMES.filter((name) => name !== "torch._utils _rebuild_tensor_v2" && name !== "torch Size").map((name, i) => bad(`forbidden/${name}`, i, one(call(name, "touch /tmp/owned")), name.split(" ").at(-1)!, "byte")),
  ...Object.entries(OPCODES).map(([name, bytes], i) => bad(`opcode/${name}`, i, one(raw(...bytes)), "opcode", "byte")),
  bad("view/leaves-its-storage", 0, (tensors) => pickled(tensors, [], view({ offset: 1 })), "leaves its storage"),
  bad("view/strides-too-long", 1, (tensors) => pickled(tensors, [], view({ strides: (own) => own.map((n) => n * 2) })), "leaves its storage"),
  bad("record/missing", 2, (tensors) => pickled(tensors, [], plain, { records: (records) => records.filter(({ name }) => !name.endsWith("data/3")) }), "data/3"),
  bad("record/short", 0, (tensors) => pickled(tensors, [], ({ data, dtype, shape }, key) => [tensorValue({ data, dtype: torchName(dtype as "BF16")!, shape, key }), data.subarray(1)]), "bytes"),
  bad("value/a-training-state", 1, (tensors) => archive(dict(["state_dict", dict([tensors[0]!.name, null])]), []), "state_dict", "training state"),
  bad("value/a-list", 2, () => archive({ list: [1] }, []), "dict of tensors"),
  bad("file/no-archive", 0, () => Buffer.from("PK\x03\x04"), "byte"),
  { id: "pickled/file/safetensors", files: () => withFiles("llama", () => [[FILE, filesOf(single("llama")).get(SINGLE) as Buffer]]), commands: ["inspect", "import"], says: [FILE, "is a safetensors file"] },
  bad("file/text", 1, () => Buffer.from("not weights at all, but long enough to be looked at"), "byte"),
  bad("file/cut", 2, (tensors) => pickled(tensors).subarray(0, 4000), "byte"),
  {
    id: "pickled/index/names-a-path-outside",
    files: () => withFiles("llama", (tensors) => [["pytorch_model.bin.index.json", JSON.stringify({ weight_map: { [tensors[0]!.name]: "../pytorch_model.bin" } })]]),
    commands: ["inspect", "import"],
    says: ["pytorch_model.bin.index.json", "relative path"]
  },
  {
    id: "pickled/index/names-what-is-not-there",
    files: () => withFiles("llama", (tensors) => [[FILE, pickled(tensors)], ["pytorch_model.bin.index.json", JSON.stringify({ weight_map: { "a.weight": FILE } })]]),
    commands: ["inspect", "import"],
    says: ["pytorch_model.bin.index.json", "a.weight"]
  }
]

const transposed: Stored = ({ data, dtype, shape }, key) => {
  const [rows, columns] = shape as [number, number]
  if (shape.length !== 2) return plain({ name: "", data, dtype, shape }, key)
  const width = data.length / (rows * columns)
  const storage = Buffer.alloc(data.length)
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) data.copy(storage, (column * rows + row) * width, (row * columns + column) * width, (row * columns + column + 1) * width)
  return [tensorValue({ data, storage, dtype: torchName(dtype as "BF16")!, shape, key, strides: [1, rows] }), storage]
}

const offset: Stored = ({ data, dtype, shape }, key) => {
  const width = data.length / shape.reduce((a, b) => a * b, 1)
  const storage = Buffer.concat([Buffer.alloc(3 * width, 0x7f), data, Buffer.alloc(width)])
  return [tensorValue({ data, storage, dtype: torchName(dtype as "BF16")!, shape, key, offset: 3 }), storage]
}

const good = (id: string, files: (tensors: ReadonlyArray<ToyTensor>) => ReadonlyArray<readonly [string, Uint8Array | string]>): ReadonlyArray<GoodCase> =>
  architectures.map((architecture) => ({ id: `pickled/${id}/${architecture}`, files: () => withFiles(architecture, files), pickled: true as const, architecture }))

export const hfGoodPickles: ReadonlyArray<GoodCase> = [
  ...good("one-file", (tensors) => [[FILE, pickled(tensors)]]),
  ...good("transposed-views", (tensors) => [[FILE, pickled(tensors, [], transposed)]]),
  ...good("offset-views", (tensors) => [[FILE, pickled(tensors, [], offset)]]),
  ...good("parameters", (tensors) => [[FILE, pickled(tensors, [], (tensor, key) => {
    const [value, storage] = plain(tensor, key)
    return [call("torch._utils _rebuild_parameter", value, true, call("collections OrderedDict")), storage]
  })]]),
  ...good("two-files", (tensors) => {
    const halves = [tensors.filter((_, i) => i % 2 === 0), tensors.filter((_, i) => i % 2 === 1)]
    const name = (i: number) => `pytorch_model-0000${i + 1}-of-00002.bin`
    return [
      ...halves.map((half, i) => [name(i), pickled(half)] as const),
      ["pytorch_model.bin.index.json", JSON.stringify({ metadata: { total_size: 1 }, weight_map: Object.fromEntries(halves.flatMap((half, i) => half.map((tensor) => [tensor.name, name(i)]))) })]
    ]
  })
]
