/** `.metadata` pickles that no writer of checkpoints makes: forbidden names and opcodes, bombs, broken streams. */
import type { BadCase, Command } from "./Case.ts"
import type { Bases } from "./megatronBadFolders.ts"
import { filesOf, type Megatron } from "./Megatron.ts"
import { DCP, type MetadataStyle } from "./Metadata.ts"
import { call, dict, g, instance, list, pickle, type Py, raw } from "./Pickle.ts"
import { architectures } from "./Toy.ts"

const BOTH: ReadonlyArray<Command> = ["inspect", "export"]
const FILE = ".metadata"

const made = (bases: Bases, id: string, i: number, change: (m: Megatron) => Megatron, ...says: ReadonlyArray<string>): BadCase => ({
  id: `pickle/${id}`,
  files: () => filesOf(change(bases[architectures[i % 3]!])),
  commands: BOTH,
  says: [FILE, ...says],
  architecture: architectures[i % 3]!
})

const styled = (metadata: MetadataStyle) => (m: Megatron): Megatron => ({ ...m, metadata })
const file = (change: (bytes: Buffer) => Uint8Array) => (m: Megatron): Megatron => ({ ...m, metadataFile: change })

/** Names that mean code. Each is called, with arguments that would do harm. */
export const NAMES = [
  "os system", "posix system", "nt system", "subprocess Popen", "builtins eval", "builtins exec", "builtins __import__", "builtins open", "__builtin__ eval",
  "importlib import_module", "runpy run_path", "pty spawn", "webbrowser open", "shutil rmtree", "socket create_connection", "urllib.request urlopen",
  "ctypes CDLL", "pickle loads", "_pickle loads", "marshal loads", "types FunctionType", "operator attrgetter", "functools partial", "functools reduce",
  "codecs decode", "_codecs encode", "torch load", "torch.hub load", "torch.jit load", "torch._utils _rebuild_tensor_v2", "numpy load", "numpy.testing._private.utils runstring",
  "pip main", "timeit timeit", "cProfile run", "code interact", "asyncio.unix_events _UnixSubprocessTransport", "torch.distributed.checkpoint.metadata os.system",
  "megatron.core.dist_checkpointing.strategies.torch MCoreMetadata2", "torch.distributed.checkpoint.metadata metadata", "Torch Size", "torch Size.__class__"
]

const calls = (bases: Bases): ReadonlyArray<BadCase> => NAMES.map((name, i) => {
  const where: ReadonlyArray<(evil: Py) => MetadataStyle> = [
    (evil) => ({ planner: evil }),
    (evil) => ({ more: { storage_meta: evil } }),
    (evil) => ({ layout: evil }),
    (evil) => ({ dtype: () => evil }),
    (evil) => ({ size: () => evil })
  ]
  return made(bases, `forbidden/${name}`, i, styled({ ...where[i % where.length]!(call(name, "touch /tmp/owned")), pickle: { protocol: ([2, 3, 4, 5] as const)[i % 4]! } }), name.split(" ").at(-1)!, "byte")
})

/** Opcodes that checkpoints have no use for, with as many operands as they want. */
export const OPCODES: Readonly<Record<string, ReadonlyArray<number | string>>> = {
  "INST": [0x28, "ios\nsystem\n"],
  "OBJ": [0x28, "ctorch\nSize\n", 0x6f],
  "EXT1": [0x82, 1],
  "EXT2": [0x83, 1, 0],
  "EXT4": [0x84, 1, 0, 0, 0],
  "PERSID": ["Pid\n"],
  "NEWOBJ_EX": ["ctorch\nSize\n", 0x29, 0x7d, 0x92],
  "NEXT_BUFFER": [0x97],
  "READONLY_BUFFER": [0x98],
  "BYTEARRAY8": [0x96, 0, 0, 0, 0, 0, 0, 0, 0],
  "STRING": ["S'x'\n"],
  "UNICODE": ["Vx\n"],
  "INT": ["I1\n"],
  "LONG": ["L1L\n"],
  "FLOAT": ["F1\n"],
  "GET": ["g0\n"],
  "POP": [0x4e, 0x4e, 0x30],
  "POP_MARK": [0x4e, 0x28, 0x31],
  "DUP": [0x4e, 0x32, 0x30],
  "LONG4": [0x8b, 1, 0, 0, 0, 1],
  "EMPTY_SET": [0x8f],
  "FROZENSET": [0x28, 0x91],
  "ADDITEMS": [0x8f, 0x28, 0x90],
  "unknown-0xff": [0xff],
  "unknown-0x00": [0x00]
}

const opcodes = (bases: Bases): ReadonlyArray<BadCase> =>
  Object.entries(OPCODES).map(([name, bytes], i) => made(bases, `opcode/${name}`, i, styled({ planner: raw(...bytes) }), "opcode", "byte"))

/** A list in a list in a list, `depth` times, in two opcodes each. */
const deep = (depth: number): Py => ({ raw: Buffer.concat([Buffer.alloc(depth, 0x5d), Buffer.alloc(depth - 1, 0x61)]) })

/** Ten references to a list of ten references to …: 10^40 elements in a few hundred bytes. */
const laughs = (): Py => {
  const parts: Array<Buffer> = [Buffer.from("]r\x10\0\0\0", "latin1")]
  for (let level = 1; level <= 40; level++) {
    const get = Buffer.of(0x6a, 0x10 + level - 1, 0, 0, 0)
    parts.push(Buffer.of(0x5d, 0x72, 0x10 + level, 0, 0, 0, 0x28), ...Array.from({ length: 10 }, () => get), Buffer.of(0x65))
  }
  // 41 lists are on the stack: gather them in a tuple.
  return { raw: Buffer.concat([Buffer.of(0x28), ...parts, Buffer.of(0x74)]) }
}

/** A dict that contains itself. */
const cycle: Py = { raw: Buffer.from("}r\x10\0\0\0X\x01\0\0\0xj\x10\0\0\0s", "latin1") }

const bombs = (bases: Bases): ReadonlyArray<BadCase> => [
  made(bases, "bomb/tables-are-a-cycle", 0, styled({ value: () => ({ instance: `${DCP} Metadata`, state: cycle }) }), "storage_data"),
  made(bases, "bomb/chunks-are-laughs", 1, styled({ chunk: () => laughs() }), "tensor"),
  made(bases, "bomb/size-is-laughs", 2, styled({ size: () => laughs() }), "tensor"),
  made(bases, "bomb/size-is-deep", 0, styled({ size: () => deep(3000) }), "tensor"),
  made(bases, "bomb/size-of-a-million-axes", 1, styled({ size: () => call("torch Size", new Array<number>(70_000).fill(1)) }), "axes"),
  made(bases, "bomb/string-longer-than-the-file", 2, styled({ planner: raw(0x8d, "\xff\xff\xff\xff\0\0\0\0") }), "byte"),
  made(bases, "bomb/string-of-2^63", 0, styled({ planner: raw(0x8d, "\0\0\0\0\0\0\0\x80") }), "byte"),
  made(bases, "bomb/string-of-2^32", 1, styled({ planner: raw(0x58, "\xff\xff\xff\xff") }), "byte"),
  made(bases, "bomb/frame-longer-than-the-file", 2, styled({ planner: raw(0x95, "\xff\xff\xff\xff\0\0\0\0", 0x4e) }), "byte"),
  made(bases, "bomb/twenty-million-lists", 0, styled({ planner: { raw: Buffer.concat([Buffer.of(0x28), Buffer.alloc(25_000_000, 0x5d), Buffer.of(0x74)]) } }), "byte"),
  made(bases, "bomb/million-open-marks", 1, styled({ planner: { raw: Buffer.alloc(5_000_000, 0x28) } }), "byte"),
  made(bases, "bomb/integer-of-255-bytes", 2, (m) => ({ ...m, places: (p) => p.map((x, i) => (i === 0 ? { ...x, offset: raw(0x8a, 255, "\x7f".repeat(255)) } : x)) }), "offset")
]

const streams = (bases: Bases): ReadonlyArray<BadCase> => [
  made(bases, "stream/no-stop", 0, file((b) => Buffer.concat([b.subarray(0, 2), b.subarray(11, b.length - 1)])), "STOP"),
  made(bases, "stream/persistent-id", 1, styled({ planner: { persistent: "0" } }), "persistent id"),
  made(bases, "stream/cut-in-a-string", 1, file((b) => b.subarray(0, b.indexOf("state_dict_metadata") + 5)), "byte"),
  made(bases, "stream/half", 2, file((b) => b.subarray(0, b.length / 2)), "byte"),
  made(bases, "stream/two-bytes", 0, file((b) => b.subarray(0, 2)), "byte"),
  made(bases, "stream/one-byte", 1, file((b) => b.subarray(0, 1)), "byte"),
  made(bases, "stream/trailing-byte", 2, file((b) => Buffer.concat([b, Buffer.of(0)])), "byte"),
  made(bases, "stream/two-pickles", 0, file((b) => Buffer.concat([b, b])), "byte"),
  made(bases, "stream/gadget-behind-the-end", 1, file((b) => Buffer.concat([b, pickle(call("os system", "id"))])), "byte"),
  made(bases, "stream/protocol-0", 2, file(() => Buffer.from("(dp0\n.")), "protocol"),
  made(bases, "stream/protocol-1", 0, file((b) => Buffer.concat([Buffer.of(0x80, 1), b.subarray(2)])), "protocol"),
  made(bases, "stream/protocol-6", 1, file((b) => Buffer.concat([Buffer.of(0x80, 6), b.subarray(2)])), "protocol 6"),
  made(bases, "stream/protocol-255", 2, file((b) => Buffer.concat([Buffer.of(0x80, 255), b.subarray(2)])), "protocol 255"),
  made(bases, "stream/nothing-but-stop", 0, file(() => Buffer.of(0x80, 4, 0x2e)), "byte"),
  made(bases, "stream/two-values", 1, file(() => Buffer.of(0x80, 4, 0x4e, 0x4e, 0x2e)), "byte"),
  made(bases, "stream/open-mark", 2, file(() => Buffer.of(0x80, 4, 0x28, 0x4e, 0x2e)), "byte"),
  made(bases, "stream/invalid-utf8", 0, styled({ planner: raw(0x8c, 2, "\xc0\xaf") }), "UTF-8"),
  made(bases, "stream/lone-surrogate", 1, styled({ planner: raw(0x8c, 3, "\xed\xa0\x80") }), "UTF-8"),
  made(bases, "stream/memo-never-set", 2, styled({ planner: raw(0x6a, "\xff\xff\xff\x7f") }), "memo"),
  made(bases, "stream/reduce-of-nothing", 0, styled({ planner: raw(0x52) }), "byte"),
  made(bases, "stream/call-of-a-string", 1, styled({ planner: { call: "os.system", args: [] } }), "byte"),
  made(bases, "stream/arguments-not-a-tuple", 2, styled({ planner: raw("ctorch\nSize\n", 0x5d, 0x52) }), "tuple"),
  made(bases, "stream/build-of-a-list", 0, styled({ planner: raw(0x5d, 0x7d, 0x62) }), "BUILD"),
  made(bases, "stream/build-twice", 1, styled({ value: (v) => ({ raw: Buffer.concat([pickle(v).subarray(11, -1), pickle(dict()).subarray(11, -1), Buffer.of(0x62)]) }) }), "twice"),
  made(bases, "stream/item-on-a-tuple", 2, styled({ planner: raw(0x29, 0x4e, 0x4e, 0x73) }), "dict"),
  made(bases, "stream/odd-items", 0, styled({ planner: raw(0x7d, 0x28, 0x4e, 0x75) }), "SETITEMS"),
  made(bases, "stream/name-with-newline", 1, styled({ planner: raw(0x8c, 3, "a\nb", 0x8c, 1, "x", 0x93) }), "byte"),
  made(bases, "stream/name-not-a-string", 2, styled({ planner: raw(0x4e, 0x4e, 0x93) }), "byte"),
  made(bases, "root/a-dict", 0, styled({ value: () => dict(["state_dict_metadata", dict()]) }), "Metadata"),
  made(bases, "root/none", 1, styled({ value: () => null }), "Metadata"),
  made(bases, "root/another-class", 2, styled({ root: `${DCP} StorageMeta` }), "StorageMeta"),
  made(bases, "root/a-class", 0, styled({ value: () => g(`${DCP} Metadata`) }), "Metadata"),
  made(bases, "root/no-state", 1, styled({ value: () => instance(`${DCP} Metadata`) }), "attributes"),
  made(bases, "root/a-list-of-states", 2, styled({ value: (v) => list(v) }), "Metadata")
]

export const megatronBadPickles = (bases: Bases): ReadonlyArray<BadCase> => [...calls(bases), ...opcodes(bases), ...bombs(bases), ...streams(bases)]
