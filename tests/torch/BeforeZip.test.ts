/** Files that torch wrote before it wrote archives. */
import { describe, expect, it } from "vitest"
import { PickleGlobal, PickleObject, type PickleValue } from "../../src/torch/PickleValue.ts"
import { parseSaved } from "../../src/torch/parseSaved.ts"
import { pyRead, PyTensorView } from "../../src/torch/PyValue.ts"
import { parseBytes } from "../../src/torch/Ranges.ts"
import { dictOf, Saved } from "./savedFile.ts"
import { codeOf, random } from "./tools.ts"

const floats = (...values: ReadonlyArray<number>) => ({ kind: "FloatStorage", width: 4, data: new Uint8Array(Float32Array.from(values).buffer) })

const file = (value: (saved: Saved) => PickleValue, change: (bytes: Buffer) => Uint8Array = (bytes) => bytes, machine = dictOf({ little_endian: true })): Uint8Array => {
  const saved = new Saved()
  return change(Buffer.from(saved.beforeZip(value(saved), machine)))
}

const two = (saved: Saved): PickleValue => {
  const storage = floats(1, 2, 3, 4)
  return dictOf({ a: saved.tensor(storage, [2, 2], [2, 1]), row: saved.tensor(storage, [2], [1], 2), b: saved.tensor(floats(5), [], []) })
}

function* read(length: number) {
  const saved = yield* parseSaved(length)
  const values = new Map<string, ReadonlyArray<number>>()
  const dict = saved.inPickle(() => pyRead(saved.value))
  for (const [key, tensor] of dict as ReadonlyMap<string, unknown>) {
    if (!(tensor instanceof PyTensorView)) continue
    const { dataLength, dataOffset } = yield* saved.place(tensor.view)
    const bytes = Uint8Array.from(yield { offset: dataOffset, length: dataLength })
    values.set(key, [...new Float32Array(bytes.buffer)].slice(tensor.view.storageOffset))
  }
  return values
}

const readAll = (bytes: Uint8Array) => parseBytes(bytes, read(bytes.length))

describe("a file without an archive", () => {
  it("gives its tensors, of which several may be views of one storage", () => {
    expect([...readAll(file(two))]).toEqual([["a", [1, 2, 3, 4]], ["row", [3, 4]], ["b", [5]]])
  })

  it("is read in further pieces where its pickle is longer than the first", () => {
    const long = (saved: Saved): PickleValue => dictOf({ note: "x".repeat(300_000), a: saved.tensor(floats(7), [1], [1]) })
    expect([...readAll(file(long))]).toEqual([["a", [7]]])
  })

  it.each<readonly [what: string, code: string, bytes: Uint8Array]>([
    ["cut short in its data", "torch/before-zip", file(two, (b) => b.subarray(0, b.length - 1))],
    ["cut short in its pickle", "pickle/truncated", file(two, (b) => b.subarray(0, 120))],
    ["cut short behind its version", "torch/before-zip", file(two, (b) => b.subarray(0, 21))],
    ["followed by something", "torch/before-zip", file(two, (b) => Buffer.concat([b, Buffer.of(0)]))],
    ["of the other byte order", "torch/byte-order", file(two, undefined, dictOf({ little_endian: false }))],
    ["whose storage says another length", "torch/data-size", file(two, (b) => { b.writeUInt8(9, b.length - 12); return b })],
    ["with a call of a forbidden name", "pickle/global", file(() => dictOf({ a: new PickleObject(new PickleGlobal("os", "system"), ["true"]) }))],
    ["of a view that leaves its storage", "torch/bounds", file((saved) => dictOf({ a: saved.tensor(floats(1, 2), [3], [1]) }))]
  ])("is refused when %s", (_, code, bytes) => expect(codeOf(() => readAll(bytes))).toBe(code))

  it("damaged anywhere, is refused in words or read", () => {
    const { below } = random(5)
    const sound = Buffer.from(file(two))
    for (let i = 0; i < 2000; i++) {
      const bytes = Buffer.from(sound)
      bytes[15 + below(bytes.length - 15)]! ^= 1 << below(8)
      codeOf(() => readAll(bytes))
    }
  })
})
