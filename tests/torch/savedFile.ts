/** Files of `torch.save` for tests, in both of their forms, with objects of any class and tensors that are views. */
import { encodePickle } from "../../src/torch/encodePickle.ts"
import { PersistentId, PickleDict, PickleGlobal, PickleList, PickleObject, type PickleValue } from "../../src/torch/PickleValue.ts"
import { archiveOf } from "../../src/torch/ZipWriter.ts"

export interface Storage {
  /** Name of torch's class, e.g. `BFloat16Storage`. */
  readonly kind: string
  readonly width: number
  readonly data: Uint8Array
}

const ORDERED_DICT = new PickleGlobal("collections", "OrderedDict")

/** A value and the storages of its tensors. */
export class Saved {
  readonly storages: Array<Storage> = []
  readonly #keys = new Map<Storage, string>()

  tensor(storage: Storage, shape: ReadonlyArray<number>, strides: ReadonlyArray<number>, offset = 0): PickleObject {
    let key = this.#keys.get(storage)
    if (key === undefined) {
      key = String(this.storages.push(storage) - 1)
      this.#keys.set(storage, key)
    }
    const id = new PersistentId(["storage", new PickleGlobal("torch", storage.kind), key, "cpu", storage.data.byteLength / storage.width])
    return new PickleObject(new PickleGlobal("torch._utils", "_rebuild_tensor_v2"), [id, offset, [...shape], [...strides], false, new PickleObject(ORDERED_DICT, [])])
  }

  /** As `torch.save` writes it today. */
  archive(root: string, value: PickleValue): Uint8Array {
    return archiveOf([
      { name: "data.pkl", content: encodePickle(value) },
      { name: "byteorder", content: Buffer.from("little") },
      ...this.storages.map(({ data }, i) => ({ name: `data/${i}`, content: data })),
      { name: "version", content: Buffer.from("3\n") }
    ].map(({ content, name }) => ({ name: `${root}/${name}`, content })))
  }

  /** As it wrote before version 1.6. `machine`: what it says of byte order. */
  beforeZip(value: PickleValue, machine: PickleDict = dictOf({ protocol_version: 1001, little_endian: true })): Uint8Array {
    const keys = new PickleList()
    for (const i of this.storages.keys()) keys.push(String(i))
    const count = (n: number): Buffer => {
      const bytes = Buffer.alloc(8)
      bytes.writeBigInt64LE(BigInt(n))
      return bytes
    }
    return Buffer.concat([
      Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex"),
      ...[1001, machine, value, keys].map((part) => encodePickle(part)),
      ...this.storages.flatMap(({ data, width }) => [count(data.byteLength / width), data])
    ])
  }
}

export const dictOf = (entries: Readonly<Record<string, PickleValue>> | Iterable<readonly [PickleValue, PickleValue]>): PickleDict => {
  const dict = new PickleDict()
  for (const [key, value] of Symbol.iterator in entries ? entries : Object.entries(entries)) dict.extend([key, value])
  return dict
}

/** An `OrderedDict`. */
export const orderedDict = (entries: Iterable<readonly [PickleValue, PickleValue]>): PickleObject => {
  const object = new PickleObject(ORDERED_DICT, [])
  object.dict = dictOf(entries)
  return object
}

/** An `argparse.Namespace`. */
export const namespace = (values: Readonly<Record<string, PickleValue>>): PickleObject => {
  const object = new PickleObject(new PickleGlobal("argparse", "Namespace"), [], true)
  object.state = dictOf(values)
  return object
}
