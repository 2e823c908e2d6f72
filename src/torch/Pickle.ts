/**
 * A reader of Python pickles (protocols 2 to 5) that executes nothing.
 *
 * Gotchas: only the opcodes that torch and Megatron emit are known; only globals on the caller's list may appear (each by
 * exact module and name), unless the policy keeps unknown classes as opaque values; integers beyond 2^53 are bigint.
 */
import { quote } from "../errors.ts"
import { isAttack } from "./Globals.ts"
import { MAX_NAME, PickleInput } from "./PickleInput.ts"
import { memoReads, Op } from "./PickleOps.ts"
import { type PickleLimits, type PicklePolicy, SMALL_PICKLE } from "./PicklePolicy.ts"
import { PersistentId, PickleDict, PickleGlobal, PickleList, PickleObject, PyFloat } from "./PickleValue.ts"
import type { PickleValue } from "./PickleValue.ts"

/**
 * Bytes of memory per byte of pickle, beyond an allowance for small ones. Real pickles take 6 to 14; an opcode of one byte can
 * cost a hundred.
 */
const LARGEST_GROWTH = 16
const GROWTH_ALLOWANCE = 64 << 20

/** Bytes that values take, measured with Node 24: a container, its first element, every element, a string beside its text. */
const CONTAINER = 64
const FIRST_ELEMENT = 48
const ELEMENT = 16
const STRING = 64

const EMPTY: ReadonlyArray<PickleValue> = []

/**
 * Decodes one pickle that fills `bytes` exactly.
 *
 * Errors: `pickle/protocol`, `pickle/opcode`, `pickle/global`, `pickle/truncated`, `pickle/trailing`, `pickle/stack`,
 * `pickle/memo`, `pickle/type`, `pickle/text`, `pickle/limit`; the place is the offset of the opcode.
 */
export const unpickle = (bytes: Uint8Array, policy: PicklePolicy): PickleValue => {
  const machine = new Machine(bytes, policy)
  const value = machine.run()
  if (machine.at !== bytes.length) machine.fail("trailing", `${bytes.length - machine.at} bytes after the end of the pickle`)
  return value
}

/** Decodes the pickle that `bytes` begin with, and says where it ends. Errors as those of {@link unpickle}. */
export const unpickleFirst = (bytes: Uint8Array, policy: PicklePolicy): { readonly value: PickleValue; readonly end: number } => {
  const machine = new Machine(bytes, policy)
  return { value: machine.run(), end: machine.at }
}

class Machine extends PickleInput {
  readonly policy: PicklePolicy
  readonly limits: PickleLimits
  readonly maxMemory: number
  /** Never shrinks; {@link height} values of it count. */
  readonly stack: Array<PickleValue> = []
  height = 0
  /** Stack heights at the open marks. */
  readonly marks: Array<number> = []
  /** Nothing below this height belongs to the innermost open mark. */
  floor = 0
  /** Memo entries 0, 1, 2, … as CPython numbers them. */
  readonly memo: Array<PickleValue> = []
  /** Memo entries elsewhere: an index of 2^32-1 must not cost an array of that length. */
  readonly scattered = new Map<number, PickleValue>()
  isRead: (index: number) => boolean = () => true
  readonly globals = new Map<string, PickleGlobal>()
  memory = 0

  constructor(bytes: Uint8Array, policy: PicklePolicy) {
    super(bytes)
    this.policy = policy
    this.limits = policy.limits ?? SMALL_PICKLE
    this.maxMemory = Math.min(this.limits.maxMemory, GROWTH_ALLOWANCE + LARGEST_GROWTH * bytes.length)
  }

  run(): PickleValue {
    const { bytes, limits } = this
    if (bytes.length > limits.maxBytes) {
      this.fail("limit", `a pickle of ${bytes.length} bytes; at most ${limits.maxBytes} are read`)
    }
    if (bytes[0] !== Op.PROTO) this.fail("protocol", "not a pickle of protocol 2 or later")
    const protocol = bytes[1] ?? this.fail("truncated", "the pickle ends inside an opcode")
    if (protocol < 2 || protocol > 5) this.fail("protocol", `pickle protocol ${protocol}; 2 to 5 are known`)
    this.at = 2
    this.isRead = memoReads(bytes)
    while (true) {
      this.opAt = this.at
      if (this.at >= bytes.length) this.fail("truncated", "the pickle ends without STOP")
      const op = bytes[this.at++]!
      switch (op) {
        case Op.STOP: return this.stop()
        case Op.FRAME: this.length(this.u64()); break
        case Op.MARK: this.marks.push(this.floor = this.height); this.roomFor(this.marks.length); break

        case Op.NONE: this.push(null); break
        case Op.NEWTRUE: this.push(true); break
        case Op.NEWFALSE: this.push(false); break
        case Op.BININT: this.push(bytes.readInt32LE(this.take(4))); break
        case Op.BININT1: this.push(bytes[this.take(1)]!); break
        case Op.BININT2: this.push(bytes.readUInt16LE(this.take(2))); break
        case Op.LONG1: this.push(this.long(bytes[this.take(1)]!)); break
        case Op.BINFLOAT: this.made(new PyFloat(bytes.readDoubleBE(this.take(8)))); break

        case Op.SHORT_BINUNICODE: this.push(this.text(bytes[this.take(1)]!)); break
        case Op.BINUNICODE: this.push(this.text(bytes.readUInt32LE(this.take(4)))); break
        case Op.BINUNICODE8: this.push(this.text(this.u64())); break

        case Op.EMPTY_TUPLE: this.push(EMPTY); break
        case Op.TUPLE: this.made(this.sinceMark()); break
        case Op.TUPLE1: this.made([this.pop()]); break
        case Op.TUPLE2: { const b = this.pop(); this.made([this.pop(), b]); break }
        case Op.TUPLE3: { const c = this.pop(), b = this.pop(); this.made([this.pop(), b, c]); break }

        case Op.EMPTY_LIST: this.made(new PickleList()); break
        case Op.APPEND: {
          const value = this.pop()
          this.spend(FIRST_ELEMENT + ELEMENT)
          const list = this.listOnTop()
          list.push(this.policy.sink?.element(list, value) ? null : value)
          break
        }
        case Op.APPENDS: {
          const added = this.sinceMark()
          this.spend(FIRST_ELEMENT + ELEMENT * added.length)
          const list = this.listOnTop()
          list.extend(this.elementsLeft(list, added))
          break
        }
        case Op.EMPTY_DICT: this.made(new PickleDict()); break
        case Op.SETITEM: {
          const value = this.pop(), key = this.pop()
          this.spend(FIRST_ELEMENT + 2 * ELEMENT)
          const dict = this.dictOnTop()
          if (!this.policy.sink?.entry(dict, key, value)) dict.extend([key, value])
          break
        }
        case Op.SETITEMS: {
          const added = this.sinceMark()
          if (added.length % 2 !== 0) this.fail("stack", "SETITEMS with a key that has no value")
          this.spend(FIRST_ELEMENT + ELEMENT * added.length)
          const dict = this.dictOnTop()
          dict.extend(this.entriesLeft(dict, added))
          break
        }

        case Op.MEMOIZE: this.remember(this.memo.length + this.scattered.size); break
        case Op.BINPUT: this.remember(bytes[this.take(1)]!); break
        case Op.LONG_BINPUT: this.remember(bytes.readUInt32LE(this.take(4))); break
        case Op.BINGET: this.recall(bytes[this.take(1)]!); break
        case Op.LONG_BINGET: this.recall(bytes.readUInt32LE(this.take(4))); break

        case Op.GLOBAL: { const module = this.line(); this.push(this.global(module, this.line())); break }
        case Op.STACK_GLOBAL: { const name = this.pop(); this.push(this.global(this.pop(), name)); break }
        case Op.REDUCE:
        case Op.NEWOBJ: {
          const args = this.pop()
          const callee = this.pop()
          if (!(callee instanceof PickleGlobal)) this.fail("type", "a call of something that is not a named class or function")
          if (!Array.isArray(args)) this.fail("type", `${quote(callee.id)} is called with something that is not a tuple`)
          this.made(new PickleObject(callee, args, op === Op.NEWOBJ))
          break
        }
        case Op.BUILD: {
          const state = this.pop()
          const object = this.top()
          if (!(object instanceof PickleObject)) this.fail("type", "BUILD on something that is not an object")
          if (object.state !== undefined) this.fail("type", `the state of ${quote(object.global.id)} is set twice`)
          object.state = state
          break
        }
        case Op.BINPERSID: {
          if (this.policy.persistent !== true) this.fail("opcode", "a persistent id, which this kind of file does not use")
          const id = this.pop()
          this.policy.persistentId?.(id)
          this.made(new PersistentId(id))
          break
        }
        default:
          this.fail("opcode", `opcode 0x${op.toString(16).padStart(2, "0")} is not one that torch or Megatron writes`)
      }
    }
  }

  stop(): PickleValue {
    if (this.marks.length > 0 || this.height !== 1) {
      this.fail("stack", `STOP with ${this.height} values on the stack and ${this.marks.length} open marks`)
    }
    return this.stack[0]!
  }

  text(length: number): string {
    const start = this.take(length)
    this.spend(STRING + length)
    if (length > this.limits.maxString) this.fail("limit", `a string of ${length} bytes; at most ${this.limits.maxString} are read`)
    return this.decode(start, start + length)
  }

  global(module: PickleValue, name: PickleValue): PickleGlobal {
    if (typeof module !== "string" || typeof name !== "string") this.fail("type", "the name of a global is not a string")
    if (module.length > MAX_NAME || name.length > MAX_NAME || /[\s\p{Cc}]/u.test(module + name)) {
      this.fail("global", `${quote(module)} ${quote(name)} is not the name of a global`)
    }
    const id = `${module} ${name}`
    const known = this.globals.get(id)
    if (known) return known
    if (!this.policy.globals.has(id) && (this.policy.opaque !== true || isAttack(module, name))) {
      this.fail("global", `the pickle refers to ${quote(module)}.${quote(name)}, which this kind of file has no use for; it is not read any further`)
    }
    this.spend(CONTAINER)
    const global = new PickleGlobal(module, name)
    this.globals.set(id, global)
    return global
  }

  roomFor(height: number) {
    if (height > this.limits.maxStack) this.fail("limit", `more than ${this.limits.maxStack} values on the stack`)
  }

  push(value: PickleValue) {
    this.stack[this.height++] = value
    this.roomFor(this.height)
  }

  spend(bytes: number) {
    this.memory += bytes
    if (this.memory > this.maxMemory) {
      this.fail("limit", `the values of the pickle would take more than ${Math.round(this.maxMemory / 2 ** 20)} MiB of memory`)
    }
  }

  /** Pushes a container. */
  made(value: PickleValue) {
    this.spend(CONTAINER + (Array.isArray(value) ? ELEMENT * value.length : 0))
    this.push(value)
  }

  top(): PickleValue {
    if (this.height <= this.floor) this.fail("stack", "an opcode takes a value that is not there")
    return this.stack[this.height - 1]!
  }

  pop(): PickleValue {
    const value = this.top()
    this.height--
    return value
  }

  sinceMark(): Array<PickleValue> {
    const mark = this.marks.pop()
    if (mark === undefined) this.fail("stack", "an opcode needs a mark that was not set")
    this.floor = this.marks.at(-1) ?? 0
    const values = this.stack.slice(mark, this.height)
    this.height = mark
    return values
  }

  /** With null for those that the sink takes. */
  elementsLeft(list: PickleList, values: Array<PickleValue>): Array<PickleValue> {
    const { sink } = this.policy
    return sink ? values.map((value) => (sink.element(list, value) ? null : value)) : values
  }

  /** Keys and values, without those that the sink takes. */
  entriesLeft(dict: PickleDict, entries: Array<PickleValue>): Array<PickleValue> {
    const { sink } = this.policy
    if (!sink) return entries
    let left = 0
    for (let i = 0; i < entries.length; i += 2) {
      const key = entries[i]!, value = entries[i + 1]!
      if (sink.entry(dict, key, value)) continue
      entries[left++] = key
      entries[left++] = value
    }
    entries.length = left
    return entries
  }

  listOnTop(): PickleList {
    const top = this.top()
    if (top instanceof PickleList) return top
    if (top instanceof PickleObject) return top.list ??= new PickleList()
    return this.fail("type", "an element is appended to something that is not a list")
  }

  dictOnTop(): PickleDict {
    const top = this.top()
    if (top instanceof PickleDict) return top
    if (top instanceof PickleObject) return top.dict ??= new PickleDict()
    return this.fail("type", "an item is set on something that is not a dict")
  }

  remember(index: number) {
    const top = this.top()
    const value = this.isRead(index) ? top : null
    this.spend(ELEMENT)
    if (index < this.memo.length) this.memo[index] = value
    else if (index === this.memo.length && !this.scattered.has(index)) this.memo.push(value)
    else this.scattered.set(index, value)
    if (this.memo.length + this.scattered.size > this.limits.maxMemo) {
      this.fail("limit", `more than ${this.limits.maxMemo} memo entries`)
    }
  }

  recall(index: number) {
    const value = index < this.memo.length ? this.memo[index] : this.scattered.get(index)
    if (value === undefined) this.fail("memo", `memo entry ${index} was never set`)
    this.push(value)
  }
}
