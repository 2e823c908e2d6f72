/**
 * What was read from a pickle, written again as one: the same values, shared where they were shared, in protocol 2, which every reader of
 * torch takes. Pickles that torch wrote come out opcode for opcode, but for equal strings that Python held twice.
 */
import { FormatError } from "../errors.ts"
import { BATCH, PickleWriter } from "./PickleWriter.ts"
import { PersistentId, PickleDict, PickleGlobal, PickleList, PickleObject, PyFloat } from "./PickleValue.ts"
import type { PickleTuple, PickleValue } from "./PickleValue.ts"

/** Nesting of what is written; real values stay below 20. */
const MAX_DEPTH = 256

/** Errors: `torch/value` for values nested deeper than any real one. */
export const encodePickle = (value: PickleValue): Uint8Array => {
  const encoder = new Encoder()
  encoder.write(value, 0)
  return encoder.stop()
}

class Encoder {
  readonly #pickle = new PickleWriter()

  stop(): Uint8Array {
    return this.#pickle.stop()
  }

  write(value: PickleValue, depth: number): void {
    if (depth > MAX_DEPTH) throw new FormatError("torch/value", `a value nested more than ${MAX_DEPTH} deep`)
    if (!this.#writeAtom(value)) this.#writeShared(value as Exclude<PickleValue, null | boolean | number | bigint | string | PyFloat>, depth + 1)
  }

  #writeAtom(value: PickleValue): boolean {
    const pickle = this.#pickle
    if (value === null) pickle.none()
    else if (typeof value === "boolean") pickle.boolean(value)
    else if (typeof value === "number" || typeof value === "bigint") pickle.int(value)
    else if (typeof value === "string") pickle.sharedText(value)
    else if (value instanceof PyFloat) pickle.float(value.value)
    else return false
    return true
  }

  #writeShared(value: PickleTuple | PickleList | PickleDict | PickleGlobal | PickleObject | PersistentId, depth: number): void {
    const pickle = this.#pickle
    if (pickle.recall(value)) return
    if (Array.isArray(value)) this.#writeTuple(value as PickleTuple, depth)
    else if (value instanceof PickleList) {
      pickle.emptyList().memoise(value)
      this.#writeElements(value.items, depth)
    } else if (value instanceof PickleDict) {
      pickle.emptyDict().memoise(value)
      this.#writeEntries(value.entries, depth)
    } else if (value instanceof PickleGlobal) pickle.sharedGlobal(value.id)
    else if (value instanceof PersistentId) {
      this.write(value.id, depth)
      pickle.persistentId()
    } else this.#writeObject(value as PickleObject, depth)
  }

  #writeTuple(items: PickleTuple, depth: number): void {
    const pickle = this.#pickle
    if (items.length === 0) {
      pickle.emptyTuple()
      return
    }
    if (items.length > 3) pickle.mark()
    for (const item of items) this.write(item, depth)
    if (items.length > 3) pickle.tuple()
    else pickle.tupleOf(items.length as 1 | 2 | 3)
    pickle.memoise(items)
  }

  #writeObject(value: PickleObject, depth: number): void {
    const pickle = this.#pickle
    pickle.sharedGlobal(value.global.id)
    this.write(value.args, depth)
    if (value.isNew) pickle.newObject()
    else pickle.reduce()
    pickle.memoise(value)
    if (value.list) this.#writeElements(value.list.items, depth)
    if (value.dict) this.#writeEntries(value.dict.entries, depth)
    if (value.state === undefined) return
    this.write(value.state, depth)
    pickle.build()
  }

  #writeElements(items: ReadonlyArray<PickleValue>, depth: number): void {
    const pickle = this.#pickle
    this.#batched(items.length, (at) => this.write(items[at]!, depth), () => pickle.append(), () => pickle.appends())
  }

  #writeEntries(entries: ReadonlyArray<PickleValue>, depth: number): void {
    const pickle = this.#pickle
    const entry = (at: number): void => {
      this.write(entries[2 * at]!, depth)
      this.write(entries[2 * at + 1]!, depth)
    }
    this.#batched(entries.length / 2, entry, () => pickle.setItem(), () => pickle.setItems())
  }

  /** As CPython does: a single element has its own opcode, more go in marked batches. */
  #batched(count: number, write: (at: number) => void, one: () => void, many: () => void): void {
    if (count === 1) {
      write(0)
      return one()
    }
    for (let from = 0; from < count; from += BATCH) {
      this.#pickle.mark()
      for (let at = from; at < Math.min(count, from + BATCH); at++) write(at)
      many()
    }
  }
}
