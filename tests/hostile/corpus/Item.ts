/** One stored chunk or object as `torch.save` writes it, in parts that a case may replace. */
import { call, g, pickle, type PickleStyle, type Py } from "./Pickle.ts"
import { zip, type ZipEntry, type ZipStyle } from "./Zip.ts"

export interface TensorParts {
  /** torch's name, e.g. `bfloat16`. */
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly data: Uint8Array
  readonly strides?: ReadonlyArray<number>
  /** In elements. */
  readonly offset?: number
  /** The storage, if it is not just the data. */
  readonly storage?: Uint8Array
  readonly key?: string
}

export interface ItemStyle {
  readonly root?: string
  readonly pickle?: PickleStyle
  readonly zip?: ZipStyle
  /** Without `byteorder`, `.format_version` … as older torch. */
  readonly only?: ReadonlyArray<string>
  /** Change the pickled value. */
  readonly value?: (value: Py) => Py
  readonly pickled?: (bytes: Buffer) => Uint8Array
  /** Change the records. */
  readonly records?: (records: ReadonlyArray<ZipEntry>) => ReadonlyArray<ZipEntry>
  readonly bytes?: (item: Buffer) => Uint8Array
}

const LEGACY: Readonly<Record<string, readonly [storage: string, width: number]>> = {
  bfloat16: ["BFloat16Storage", 2],
  float16: ["HalfStorage", 2],
  float32: ["FloatStorage", 4],
  float64: ["DoubleStorage", 8],
  int64: ["LongStorage", 8],
  int32: ["IntStorage", 4],
  int16: ["ShortStorage", 2],
  int8: ["CharStorage", 1],
  uint8: ["ByteStorage", 1],
  bool: ["BoolStorage", 1]
}

export const contiguous = (shape: ReadonlyArray<number>): Array<number> => {
  const strides = shape.map(() => 1)
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = strides[i + 1]! * Math.max(1, shape[i + 1]!)
  return strides
}

export const HOOKS: Py = call("collections OrderedDict")

export const widthOf = (dtype: string): number => LEGACY[dtype]?.[1] ?? 1

export const storageId = (kind: string, key: string, elements: number, location = "cpu"): Py => ({ persistent: ["storage", g(kind), key, location, elements] })

/** `_rebuild_tensor_v2`, or `_v3` for dtypes without a storage class of their own. */
export const tensorValue = ({ data, dtype, key = "0", offset = 0, shape, storage = data, strides = contiguous(shape) }: TensorParts): Py => {
  const legacy = LEGACY[dtype]
  return legacy
    ? call("torch._utils _rebuild_tensor_v2", storageId(`torch ${legacy[0]}`, key, storage.length / legacy[1]), offset, shape, strides, false, HOOKS)
    : call("torch._utils _rebuild_tensor_v3", storageId("torch.storage UntypedStorage", key, storage.length), offset, shape, strides, false, HOOKS, g(`torch ${dtype}`))
}

/** Any value with its storages. */
export const archive = (value: Py, storages: ReadonlyArray<readonly [key: string, bytes: Uint8Array]>, style: ItemStyle = {}): Uint8Array => {
  const { bytes = (b) => b, only, pickled = (b) => b, records = (r) => r, root = "archive" } = style
  const data = pickle((style.value ?? ((v) => v))(value), { protocol: 2, ...style.pickle })
  const all: ReadonlyArray<ZipEntry> = [
    { name: "data.pkl", content: pickled(data) },
    { name: ".format_version", content: Buffer.from("1") },
    { name: ".storage_alignment", content: Buffer.from("64") },
    { name: "byteorder", content: Buffer.from("little") },
    ...storages.map(([key, content]) => ({ name: `data/${key}`, content })),
    { name: "version", content: Buffer.from("3\n") },
    { name: ".data/serialization_id", content: Buffer.from("0".repeat(40)) }
  ]
  const kept = only ? all.filter(({ name }) => only.includes(name) || name.startsWith("data/")) : all
  const prefixed = kept.map((record) => ({ ...record, name: root === "" ? record.name : `${root}/${record.name}` }))
  return bytes(zip(records(prefixed), style.zip))
}

export const tensorItem = (parts: TensorParts, style: ItemStyle = {}): Uint8Array =>
  archive(tensorValue(parts), [[parts.key ?? "0", parts.storage ?? parts.data]], style)

export const objectItem = (value: Py, style: ItemStyle = {}): Uint8Array => archive({ list: [value] }, [], style)
