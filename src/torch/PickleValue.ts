/**
 * What a pickle decodes to: inert data. No class is looked up and nothing is called; a pickled call is kept as the record
 * of a call. Values that the pickle shares (through its memo) are shared here too, and a hostile pickle can build cycles
 * or 10^41-element "laughs" out of shared lists, so whoever walks a value must bound the walk (see `PyValue.ts`).
 */

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PyFloat
  | PickleTuple
  | PickleList
  | PickleDict
  | PickleGlobal
  | PickleObject
  | PersistentId

/** A tuple is a plain array: it can never be appended to. */
export type PickleTuple = ReadonlyArray<PickleValue>

/** A Python float. Its own class because `3.0` and `3` are different pickles; ints are numbers (bigint if unsafe). */
export class PyFloat {
  readonly value: number
  constructor(value: number) {
    this.value = value
  }
}

const NOTHING: ReadonlyArray<PickleValue> = []

export class PickleList {
  /** Created on first use: an empty list is one opcode, and must stay as cheap as that. */
  #items: Array<PickleValue> | undefined
  get kind() { return "list" as const }
  get items(): ReadonlyArray<PickleValue> { return this.#items ?? NOTHING }
  push(value: PickleValue) {
    // An empty array grows to seventeen places at the first push.
    if (this.#items === undefined) this.#items = [value]
    else this.#items.push(value)
  }
  /** Appends all; takes the array over if the list is empty. */
  extend(values: Array<PickleValue>) {
    if (this.#items === undefined) this.#items = values
    else for (const value of values) this.#items.push(value)
  }
}

/** A dict as it was written: keys and values alternating, in file order, duplicates included. */
export class PickleDict {
  #entries: Array<PickleValue> | undefined
  get kind() { return "dict" as const }
  get entries(): ReadonlyArray<PickleValue> { return this.#entries ?? NOTHING }
  get size() { return this.entries.length / 2 }
  /** Appends keys and values, alternating; takes the array over if the dict is empty. */
  extend(entries: Array<PickleValue>) {
    if (this.#entries === undefined) this.#entries = entries
    else for (const entry of entries) this.#entries.push(entry)
  }
  /** The last value under a string key, as Python would keep it. Linear: for attribute dicts of a few entries. */
  get(key: string): PickleValue | undefined {
    const entries = this.entries
    for (let i = entries.length - 2; i >= 0; i -= 2) if (entries[i] === key) return entries[i + 1]
    return undefined
  }
}

/** A reference to a class or function by name. */
export class PickleGlobal {
  readonly module: string
  /** Python's qualname. */
  readonly name: string
  /** `module name`, the form the allow-lists use. */
  readonly id: string
  constructor(module: string, name: string) {
    this.module = module
    this.name = name
    this.id = `${module} ${name}`
  }
  get kind() { return "global" as const }
}

/** An instance, or the record of a call: `global(...args)`, then the state that `__setstate__` would have received. */
export class PickleObject {
  readonly global: PickleGlobal
  readonly args: PickleTuple
  /** Made by `__new__`, without a call of the class. */
  readonly isNew: boolean
  state: PickleValue | undefined = undefined
  /** What APPEND(S) added (list subclasses). */
  list: PickleList | undefined = undefined
  /** What SETITEM(S) added (`OrderedDict` and other dict subclasses). */
  dict: PickleDict | undefined = undefined
  constructor(global: PickleGlobal, args: PickleTuple, isNew = false) {
    this.global = global
    this.args = args
    this.isNew = isNew
  }
  get kind() { return "object" as const }
  get module() { return this.global.module }
  get name() { return this.global.name }
}

/** A reference to something outside the pickle; torch uses it for storages. */
export class PersistentId {
  readonly id: PickleValue
  constructor(id: PickleValue) {
    this.id = id
  }
  get kind() { return "persistent" as const }
}

/** `value` is the global `module name`. */
export const isGlobal = (value: PickleValue | undefined, id: string): value is PickleGlobal =>
  value instanceof PickleGlobal && value.id === id

/** `value` is an instance of (or a call to) the global `module name`. */
export const isInstance = (value: PickleValue | undefined, id: string): value is PickleObject =>
  value instanceof PickleObject && value.global.id === id
