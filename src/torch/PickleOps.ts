/** The opcodes of pickles that torch and Megatron write, protocols 2 to 5. */

export const Op = {
  PROTO: 0x80, FRAME: 0x95, STOP: 0x2e, MARK: 0x28,
  NONE: 0x4e, NEWTRUE: 0x88, NEWFALSE: 0x89,
  BININT: 0x4a, BININT1: 0x4b, BININT2: 0x4d, LONG1: 0x8a, BINFLOAT: 0x47,
  SHORT_BINUNICODE: 0x8c, BINUNICODE: 0x58, BINUNICODE8: 0x8d,
  EMPTY_TUPLE: 0x29, TUPLE: 0x74, TUPLE1: 0x85, TUPLE2: 0x86, TUPLE3: 0x87,
  EMPTY_LIST: 0x5d, APPEND: 0x61, APPENDS: 0x65,
  EMPTY_DICT: 0x7d, SETITEM: 0x73, SETITEMS: 0x75,
  MEMOIZE: 0x94, BINPUT: 0x71, LONG_BINPUT: 0x72, BINGET: 0x68, LONG_BINGET: 0x6a,
  GLOBAL: 0x63, STACK_GLOBAL: 0x93, NEWOBJ: 0x81, REDUCE: 0x52, BUILD: 0x62, BINPERSID: 0x51
} as const

/** Bytes of the argument that follows an opcode, or of the length of one. */
const ARGUMENT = new Uint8Array(256)
for (const op of [Op.PROTO, Op.BININT1, Op.BINPUT, Op.BINGET, Op.LONG1, Op.SHORT_BINUNICODE]) ARGUMENT[op] = 1
for (const op of [Op.BININT2]) ARGUMENT[op] = 2
for (const op of [Op.BININT, Op.LONG_BINPUT, Op.LONG_BINGET, Op.BINUNICODE]) ARGUMENT[op] = 4
for (const op of [Op.FRAME, Op.BINFLOAT, Op.BINUNICODE8]) ARGUMENT[op] = 8

/**
 * Does a pickle ever read the memo entry `index`? CPython memoises every value, and most are never asked for again: what is put
 * into those entries need not be kept. A damaged pickle is looked through up to the damage.
 */
export const memoReads = (pickle: Buffer): ((index: number) => boolean) => {
  // Entries are numbered from 0 on, and each takes a byte at least. Of others, all are taken to be read.
  const read = new Uint8Array((pickle.length >>> 3) + 1)
  const note = (index: number): void => {
    if (index < pickle.length) read[index >>> 3]! |= 1 << (index & 7)
  }
  const afterLine = (start: number): number => {
    const end = pickle.indexOf(0x0a, start)
    return end < 0 ? pickle.length : end + 1
  }
  for (let at = 0; at < pickle.length;) {
    const op = pickle[at]!
    const argument = at + 1
    at = argument + ARGUMENT[op]!
    if (at > pickle.length) break
    switch (op) {
      case Op.BINGET: note(pickle[argument]!); break
      case Op.LONG_BINGET: note(pickle.readUInt32LE(argument)); break
      case Op.LONG1:
      case Op.SHORT_BINUNICODE: at += pickle[argument]!; break
      case Op.BINUNICODE: at += pickle.readUInt32LE(argument); break
      case Op.BINUNICODE8: at += Number(pickle.readBigUInt64LE(argument)); break
      case Op.GLOBAL: at = afterLine(afterLine(argument)); break
    }
  }
  return (index) => index >= pickle.length || (read[index >>> 3]! & (1 << (index & 7))) !== 0
}
