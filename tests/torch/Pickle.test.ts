import { describe, expect, it } from "vitest"
import { unpickle } from "../../src/torch/Pickle.ts"
import { type PicklePolicy, SMALL_PICKLE } from "../../src/torch/PicklePolicy.ts"
import { PersistentId, PickleDict, PickleGlobal, PickleList, PickleObject, PyFloat } from "../../src/torch/PickleValue.ts"
import { bytes, codeOf } from "./tools.ts"

const policy: PicklePolicy = { globals: new Set(["torch Size", "m C"]) }
/** A protocol 2 pickle of these opcodes. */
const read = (...ops: ReadonlyArray<string | number | Uint8Array>) => unpickle(bytes("\x80\x02", ...ops), policy)
const refused = (...ops: ReadonlyArray<string | number | Uint8Array>) => codeOf(() => read(...ops))

describe("values", () => {
  it("reads integers of every width", () => {
    expect(read("K\xff.")).toBe(255)
    expect(read("M\x00\x01.")).toBe(256)
    expect(read("J\xff\xff\xff\xff.")).toBe(-1)
    expect(read("\x8a\x00.")).toBe(0)
    expect(read("\x8a\x01\x80.")).toBe(-128)
    expect(read("\x8a\x06\x00\x00\x00\x00\x00\x01.")).toBe(2 ** 40)
    expect(read("\x8a\x08\xff\xff\xff\xff\xff\xff\x1f\x00.")).toBe(Number.MAX_SAFE_INTEGER)
  })

  it("reads integers beyond 2^53 as bigint", () => {
    expect(read("\x8a\x08\x00\x00\x00\x00\x00\x00\x20\x00.")).toBe(2n ** 53n)
    expect(read("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.")).toBe(-(2n ** 63n))
  })

  it("keeps floats apart from integers", () => {
    expect(read("G\x40\x08\x00\x00\x00\x00\x00\x00.")).toEqual(new PyFloat(3))
  })

  it("reads None, True and False", () => {
    expect([read("N."), read("\x88."), read("\x89.")]).toEqual([null, true, false])
  })

  it("reads strings with 1, 4 and 8 byte lengths as UTF-8", () => {
    expect(read("\x8c\x03h\xc3\xa9.")).toBe("hé")
    expect(read("X\x02\x00\x00\x00ab.")).toBe("ab")
    expect(read("\x8d\x01\x00\x00\x00\x00\x00\x00\x00a.")).toBe("a")
    expect(read("\x8c\x04\xef\xbb\xbfa.")).toBe("\ufeffa")
  })

  it("reads tuples as arrays", () => {
    expect(read(").")).toEqual([])
    expect(read("K\x01\x85.")).toEqual([1])
    expect(read("K\x01K\x02\x86.")).toEqual([1, 2])
    expect(read("K\x01K\x02K\x03\x87.")).toEqual([1, 2, 3])
    expect(read("(K\x01(K\x02tt.")).toEqual([1, [2]])
  })

  it("reads lists and dicts, one element or many", () => {
    const list = read("](K\x01K\x02eK\x03a.") as PickleList
    expect(list.items).toEqual([1, 2, 3])
    const dict = read("}(\x8c\x01aK\x01\x8c\x01bK\x02u\x8c\x01aK\x03s.") as PickleDict
    expect(dict.entries).toEqual(["a", 1, "b", 2, "a", 3])
    expect(dict.get("a")).toBe(3)
    expect(dict.size).toBe(3)
  })

  it("keeps a call as a record of the call", () => {
    const size = read("ctorch\nSize\nK\x02K\x03\x86\x85R.") as PickleObject
    expect([size.module, size.name, size.args]).toEqual(["torch", "Size", [[2, 3]]])
  })

  it("keeps an instance with its state, list and dict elements", () => {
    const object = read("\x8c\x01m\x8c\x01C\x93)\x81N\x85bK\x01a\x8c\x01kK\x02s.") as PickleObject
    expect(object.state).toEqual([null])
    expect(object.list!.items).toEqual([1])
    expect(object.dict!.entries).toEqual(["k", 2])
  })
})

describe("memo", () => {
  it("gives the same value back, and sees later changes to it", () => {
    const list = read("]q\x00h\x00h\x00K\x07a\x87.") as ReadonlyArray<PickleList>
    expect(list[0]).toBe(list[2])
    expect(list[0]!.items).toEqual([7])
  })

  it("numbers MEMOIZE by the entries before it", () => {
    expect(read("\x8c\x01a\x94\x8c\x01b\x94h\x00h\x01\x86\x87.")).toEqual(["a", "b", ["a", "b"]])
  })

  it("takes an index of 2^32-1 without an array of that length", () => {
    expect(read("K\x05r\xff\xff\xff\xffj\xff\xff\xff\xff\x86.")).toEqual([5, 5])
  })

  it("keeps what is read again behind strings, lines and numbers that look like reads", () => {
    // BINGET is "h", LONG_BINGET "j".
    const text = "X\x04\x00\x00\x00hhjj"
    const pickle = `(K\x07q\x68${text}\x8c\x02h\x01\x8d\x02\x00\x00\x00\x00\x00\x00\x00jjcm\nC\nJhhhh\x8a\x02hhG${"h".repeat(8)}h\x68t.`
    const values = read(pickle) as ReadonlyArray<unknown>
    expect([values[0], values.at(-1)]).toEqual([7, 7])
  })

  it("holds shared references without unfolding them", () => {
    // 60 lists, each holding the previous one ten times: 10^60 leaves.
    const level = "q\x00]" + "(" + "h\x00".repeat(10) + "e"
    expect(read("(]" + level.repeat(60) + "t.")).toHaveLength(61)
  })

  it("reads lists nested 400 000 deep without recursion", () => {
    const deep = unpickle(bytes("\x80\x02", "]".repeat(400_000), "a".repeat(399_999), "."), policy)
    expect(deep).toBeInstanceOf(PickleList)
  })
})

describe("a sink", () => {
  const taking = (isTaken: (value: unknown) => boolean, ...ops: ReadonlyArray<string>) => {
    const taken: Array<unknown> = []
    const take = (value: unknown) => isTaken(value) && taken.push(value) > 0
    const sink = { element: (_: unknown, value: unknown) => take(value), entry: (_: unknown, key: unknown, value: unknown) => take(key) && taken.push(value) > 0 }
    return { taken, left: unpickle(bytes("\x80\x02", ...ops), { ...policy, sink }) }
  }

  it("takes elements of lists, one or many, and leaves null for them", () => {
    const { left, taken } = taking((value) => value === 2, "](K\x01K\x02eK\x02aK\x03a.")
    expect((left as PickleList).items).toEqual([1, null, null, 3])
    expect(taken).toEqual([2, 2])
  })

  it("takes entries of dicts, one or many, and leaves nothing of them", () => {
    const { left, taken } = taking((key) => key === "a", "}(\x8c\x01aK\x01\x8c\x01bK\x02u\x8c\x01aK\x03s.")
    expect((left as PickleDict).entries).toEqual(["b", 2])
    expect(taken).toEqual(["a", 1, "a", 3])
  })
})

describe("policy", () => {
  it("refuses a global that is not on the list, by name, whichever way it is named", () => {
    expect(() => read("cposix\nsystem\n.")).toThrow("posix.system")
    expect(refused("cposix\nsystem\n.")).toBe("pickle/global")
    expect(refused("\x8c\x05posix\x8c\x06system\x93.")).toBe("pickle/global")
    expect(refused("ctorch\nSize.x\n.")).toBe("pickle/global")
    expect(refused("ctorch Size\nx\n.")).toBe("pickle/global")
  })

  it("keeps unknown classes as inert values where the caller asks for it", () => {
    const value = unpickle(bytes("\x80\x02csignal\nSignals\n\x8c\x02id\x85R."), { ...policy, opaque: true }) as PickleObject
    expect(value.global).toBeInstanceOf(PickleGlobal)
    expect([value.global.id, value.args]).toEqual(["signal Signals", ["id"]])
  })

  it.each(["posix system", "os.path join", "subprocess Popen", "builtins eval", "__builtin__ __import__"])("does not keep %s even there", (id) => {
    const [module, name] = id.split(" ")
    expect(() => unpickle(bytes(`\x80\x02c${module}\n${name}\n.`), { ...policy, opaque: true })).toThrow(`${module}.${name}`)
  })

  it("takes persistent ids only where the caller asks for it", () => {
    expect(refused("K\x01Q.")).toBe("pickle/opcode")
    const value = unpickle(bytes("\x80\x02K\x01Q."), { ...policy, persistent: true })
    expect((value as PersistentId).id).toBe(1)
  })

  it.each([
    ["INST", "(im\nC\n."], ["OBJ", "(cm\nC\no."], ["EXT1", "\x82\x01."], ["EXT2", "\x83\x01\x00."], ["EXT4", "\x84\x01\x00\x00\x00."],
    ["PERSID", "Px\n."], ["NEWOBJ_EX", "cm\nC\n)}\x92."], ["NEXT_BUFFER", "\x97."], ["READONLY_BUFFER", "\x98."],
    ["POP", "N0."], ["DUP", "N2."], ["BYTEARRAY8", "\x96."], ["INT", "I1\n."]
  ])("refuses opcode %s", (_name, ops) => {
    expect(refused(ops)).toBe("pickle/opcode")
  })
})

describe("damage", () => {
  it.each([
    ["pickle/protocol", "no PROTO", "N."],
    ["pickle/protocol", "protocol 1", "\x80\x01N."],
    ["pickle/protocol", "protocol 6", "\x80\x06N."],
    ["pickle/truncated", "nothing after PROTO", "\x80"],
    ["pickle/truncated", "no STOP", "\x80\x02N"],
    ["pickle/truncated", "half an integer", "\x80\x02J\x00\x00."],
    ["pickle/truncated", "a string of 4 GB", "\x80\x02X\xff\xff\xff\xffa."],
    ["pickle/truncated", "a string of 2^64 bytes", "\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffa."],
    ["pickle/truncated", "a frame longer than the file", "\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00N."],
    ["pickle/truncated", "a name without end", "\x80\x02ctorch\nSize"],
    ["pickle/trailing", "two pickles", "\x80\x02N.\x80\x02N."],
    ["pickle/stack", "two results", "\x80\x02NN."],
    ["pickle/stack", "no result", "\x80\x02."],
    ["pickle/stack", "an open mark", "\x80\x02N(."],
    ["pickle/stack", "no mark", "\x80\x02Nt."],
    ["pickle/stack", "values below the mark", "\x80\x02]N(ae."],
    ["pickle/stack", "a key without value", "\x80\x02}(Nu."],
    ["pickle/memo", "an unset memo entry", "\x80\x02h\x00."],
    ["pickle/type", "a call of a string", "\x80\x02\x8c\x01a)R."],
    ["pickle/type", "arguments that are no tuple", "\x80\x02cm\nC\n]R."],
    ["pickle/type", "appending to a tuple", "\x80\x02)Na."],
    ["pickle/type", "an item of a list", "\x80\x02]NNs."],
    ["pickle/type", "state for a dict", "\x80\x02}}b."],
    ["pickle/type", "state twice", "\x80\x02cm\nC\n)\x81}b}b."],
    ["pickle/type", "a name that is no string", "\x80\x02NN\x93."],
    ["pickle/text", "invalid UTF-8", "\x80\x02\x8c\x02\xc3\x28."],
    ["pickle/text", "a lone surrogate", "\x80\x02\x8c\x03\xed\xa0\x80."]
  ])("%s: %s", (code, _what, pickle) => {
    expect(codeOf(() => unpickle(bytes(pickle), policy))).toBe(code)
  })

  it("names the byte", () => {
    expect(() => read("NN\x82\x01.")).toThrow(expect.objectContaining({ place: { offset: 4 } }))
  })

  it.each([
    ["bytes", { maxBytes: 3 }, "NN."],
    ["values", { maxMemory: 128 }, "]]]."],
    ["memo entries", { maxMemo: 1 }, "Nq\x00q\x01."],
    ["stack", { maxStack: 2 }, "NNN."],
    ["open marks", { maxStack: 2 }, "(((."],
    ["string", { maxString: 2 }, "\x8c\x03abc."]
  ])("pickle/limit: %s", (_what, limit, ops) => {
    const limits = { ...SMALL_PICKLE, ...limit }
    expect(codeOf(() => unpickle(bytes("\x80\x02", ops), { ...policy, limits }))).toBe("pickle/limit")
  })
})
