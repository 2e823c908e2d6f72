/** One entry of a dict in an archive set anew, whatever else the dict holds. */
import { describe, expect, it } from "vitest"
import { withEntry } from "../../src/torch/DictEdit.ts"
import { commonFile, objectItem, readArchive } from "../../src/torch/ObjectItem.ts"
import { archiveOf } from "../../src/torch/ZipWriter.ts"

const archive = (pickle: string): Uint8Array =>
  archiveOf([["data.pkl", Buffer.from(pickle, "latin1")], ["version", Buffer.from("3\n")]].map(([name, content]) => ({ name: `archive/${name as string}`, content: content as Buffer })))

/** `{"args": Namespace(), "flags": {}}`, with a memo that the rest of the pickle reads. */
const dict = "}q\x00(X\x04\x00\x00\x00argsq\x01cargparse\nNamespace\nq\x02)\x81q\x03X\x05\x00\x00\x00flagsq\x04}q\x05u"
const flags = new Map([["on", true]])

describe("withEntry", () => {
  it("sets an entry of a dict and keeps its place", () => {
    const common = commonFile(new Map<string, unknown>([["a", 1], ["flags", new Map()], ["b", 2]]) as never)
    expect(readArchive(withEntry(common, "flags", flags))).toEqual(new Map<string, unknown>([["a", 1], ["flags", flags], ["b", 2]]))
  })

  it("adds one that is not there", () => {
    expect(readArchive(withEntry(commonFile(new Map([["a", 1]])), "flags", flags))).toEqual(new Map<string, unknown>([["a", 1], ["flags", flags]]))
  })

  it("leaves objects of Python as they are written", () => {
    const edited = withEntry(archive(`\x80\x02${dict}.`), "flags", flags)
    const found = readArchive(edited) as ReadonlyMap<string, unknown>
    expect([...found.keys()]).toEqual(["args", "flags"])
    expect(found.get("args")).toMatchObject({ module: "argparse", name: "Namespace" })
    expect(found.get("flags")).toEqual(flags)
    expect(Buffer.from(edited).includes(Buffer.from(`\x80\x02${dict}`, "latin1"))).toBe(true)
  })

  it("reaches the dict of an object's item", () => {
    expect(readArchive(withEntry(objectItem(new Map([["a", 1]])), "b", 2))).toEqual([new Map([["a", 1], ["b", 2]])])
  })

  it.each([
    ["a later protocol", `\x80\x04\x95\x03\x00\x00\x00\x00\x00\x00\x00}\x94.`],
    ["a list of several", "\x80\x02](}}e."]
  ])("refuses %s", (_, pickle) => {
    expect(() => withEntry(archive(pickle), "flags", flags)).toThrow("does not end as torch.save ends it")
  })
})
