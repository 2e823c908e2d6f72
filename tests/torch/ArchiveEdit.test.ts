/** The value of an archive changed, whatever objects it holds. */
import { describe, expect, it } from "vitest"
import { withAttributes, withEntries, rewriteArchive } from "../../src/torch/ArchiveEdit.ts"
import { commonFile, objectItem, parseArchive, readArchive } from "../../src/torch/ObjectItem.ts"
import { PickleDict, PickleList, PickleObject, type PickleValue } from "../../src/torch/PickleValue.ts"
import { EMPTY_UINT8, PyFloat, type PyValue } from "../../src/torch/PyValue.ts"
import { parseBytes } from "../../src/torch/Ranges.ts"
import { archiveOf } from "../../src/torch/ZipWriter.ts"

const archive = (pickle: string): Uint8Array =>
  archiveOf([["data.pkl", Buffer.from(pickle, "latin1")], ["version", Buffer.from("3\n")]].map(([name, content]) => ({ name: `archive/${name as string}`, content: content as Buffer })))

/** `{"args": Namespace(tp=2), "flags": {}, "again": that flags}`. */
const NAMESPACE = "\x80\x02}q\x00(X\x04\x00\x00\x00argsq\x01cargparse\nNamespace\nq\x02)\x81q\x03}q\x04X\x02\x00\x00\x00tpq\x05K\x02sbX\x05\x00\x00\x00flagsq\x06}q\x07X\x05\x00\x00\x00againq\x08h\x07u."

/** The same value as another object, so that it is written anew. */
const same = (value: PickleValue): PickleValue => {
  if (value instanceof PickleDict) {
    const out = new PickleDict()
    out.extend([...value.entries])
    return out
  }
  const out = new PickleList()
  out.extend([...(value as PickleList).items])
  return out
}
const valueOf = (bytes: Uint8Array): PickleValue => parseBytes(bytes, parseArchive(bytes.length)).value

describe("an archive written again", () => {
  const shared: PyValue = [1, 2]
  it.each<[string, Uint8Array]>([
    ["a common state", commonFile(new Map<PyValue, PyValue>([["a", 1], ["b", new PyFloat(3)], ["list", shared], ["again", shared], ["none", null], ["large", 2 ** 40]]))],
    ["an object with a tensor", objectItem(EMPTY_UINT8)],
    ["lists and dicts of more than a batch", objectItem([Array.from({ length: 2500 }, (_, i) => i), new Map(Array.from({ length: 1001 }, (_, i) => [i, "x"]))])],
    ["objects of Python", archive(NAMESPACE)]
  ])("is the same byte for byte: %s", (_, bytes) => {
    expect(Buffer.compare(rewriteArchive(bytes, same), bytes)).toBe(0)
  })

  it("of a later protocol has the same value", () => {
    const later = archive("\x80\x04\x95\x0a\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.")
    expect(readArchive(rewriteArchive(later, same))).toEqual(new Map([["a", 1]]))
  })

  it("keeps what is shared shared", () => {
    const value = valueOf(rewriteArchive(archive(NAMESPACE), same)) as PickleDict
    expect(value.get("flags")).toBe(value.get("again"))
  })
})

describe("changes", () => {
  it("set, add and remove entries, each in its place", () => {
    const changed = rewriteArchive(commonFile(new Map([["a", 1], ["b", 2], ["c", 3]])), (value) => withEntries(value as PickleDict, new Map<string, number | undefined>([["b", undefined], ["a", 7], ["d", 4]])))
    expect([...(readArchive(changed) as ReadonlyMap<unknown, unknown>)]).toEqual([["a", 7], ["c", 3], ["d", 4]])
  })

  it("reach attributes of an object, which stays of its class", () => {
    const changed = rewriteArchive(archive(NAMESPACE), (value) => {
      const args = (value as PickleDict).get("args") as PickleObject
      return withEntries(value as PickleDict, new Map([["args", withAttributes(args, new Map([["tp", 1]]))]]))
    })
    const args = (valueOf(changed) as PickleDict).get("args") as PickleObject
    expect([args.global.id, args.isNew, (args.state as PickleDict).entries]).toEqual(["argparse Namespace", true, ["tp", 1]])
  })

  it("do not follow values that contain themselves for ever", () => {
    let nested: PickleValue = new PickleList()
    for (let i = 0; i < 300; i++) {
      const outer = new PickleList()
      outer.push(nested)
      nested = outer
    }
    expect(() => rewriteArchive(commonFile(new Map()), () => nested)).toThrow("nested more than")
  })
})
