/** Values of the `.metadata` pickle, checked as they are taken out of it. Errors: `dcp/…`, naming the tensor. */
import { FormatError, quote } from "../errors.ts"
import type { DType } from "../tensor/DType.ts"
import { Dcp, dtypeOfGlobal, SIZE } from "./Globals.ts"
import { isGlobal, isInstance, PickleDict, PickleGlobal, PickleList, PickleObject, PyFloat } from "./PickleValue.ts"
import type { PickleValue } from "./PickleValue.ts"
import { MAX_RANK } from "./TensorView.ts"

/** Attributes of one dataclass; more means a dict that is no instance state. */
const MAX_ATTRIBUTES = 64
/** A file name no file system accepts is not one. */
const MAX_FILE_NAME = 255

export const malformed = (code: string, problem: string, tensor?: string): never => {
  throw new FormatError(`dcp/${code}`, problem, tensor === undefined ? {} : { tensor })
}

/** An instance of one of these classes. */
export const isOne = (value: PickleValue | undefined, ids: ReadonlyArray<string>): value is PickleObject =>
  value instanceof PickleObject && ids.includes(value.global.id)

/** May be the attributes of something. */
export const isSmall = (state: PickleDict): boolean => state.size <= MAX_ATTRIBUTES

/** The attributes of an instance of one of these classes. */
export const stateOf = (value: PickleValue | undefined, ids: ReadonlyArray<string>, what: string, tensor?: string): PickleDict => {
  if (!isOne(value, ids)) {
    const found = value instanceof PickleObject ? `a ${quote(value.global.id.replace(" ", "."))}` : "something else"
    return malformed("class", `${what} is ${found}, not a ${ids[0]!.split(" ")[1]}`, tensor)
  }
  if (!(value.state instanceof PickleDict) || !isSmall(value.state)) {
    return malformed("class", `${what} has no attributes, or too many`, tensor)
  }
  return value.state
}

export const dict = (state: PickleDict, name: string): PickleDict => {
  const value = state.get(name)
  return value instanceof PickleDict ? value : malformed("field", `.metadata has no ${name}`)
}

export const integer = (value: PickleValue | undefined, what: string, tensor: string): number =>
  typeof value === "number" && value >= 0
    ? value
    : malformed("integer", `${what}: ${shown(value)} is not a non-negative integer below 2^53`, tensor)

const shown = (value: PickleValue | undefined): string => {
  if (value === undefined || value === null) return "nothing"
  if (typeof value === "string") return `"${quote(value)}"`
  if (value instanceof PyFloat) return `the float ${value.value}`
  return typeof value === "object" ? "something else" : quote(String(value))
}

/** A `torch.Size` (or tuple, or list) of sizes; the array of the pickle itself, so that shared ones stay shared. */
export const sizesOf = (value: PickleValue | undefined, what: string, tensor: string): ReadonlyArray<number> => {
  const inner = isInstance(value, SIZE) ? value.args[0] ?? [] : value
  const list = inner instanceof PickleList ? inner.items : inner
  if (!Array.isArray(list)) return malformed("field", `${what}: missing, or no list of integers`, tensor)
  if (list.length > MAX_RANK) return malformed("rank", `${what} has ${list.length} axes; torch has at most ${MAX_RANK}`, tensor)
  for (let i = 0; i < list.length; i++) integer(list[i], what, tensor)
  return list
}

/** `TensorProperties`: its state is a tuple that begins with dtype and layout (and may grow). */
export const tensorDtype = (value: PickleValue | undefined, key: string): DType => {
  const state = isOne(value, Dcp.properties) ? value.state : undefined
  if (!Array.isArray(state) || state.length < 5) return malformed("field", "the tensor has no properties in the form torch writes", key)
  const [dtype, layout] = state as ReadonlyArray<PickleValue>
  const strided = isGlobal(layout, "torch strided") || (isInstance(layout, Dcp.layout) && layout.args[0] === "torch.strided")
  if (!strided) malformed("layout", "the tensor's layout is not torch.strided", key)
  const name = dtype instanceof PickleGlobal ? dtype.id : malformed("field", "the tensor's properties do not begin with a dtype", key)
  return dtypeOfGlobal(name) ?? malformed("dtype", `${quote(name.replace(" ", "."))} is not a dtype that is supported here`, key)
}

/** Only a plain name inside the directory: no separators, parents, drives or NUL. */
export const fileName = (value: PickleValue | undefined, known: Set<string>, tensor: string): string => {
  if (typeof value !== "string") return malformed("field", "the storage entry has no file name", tensor)
  if (known.has(value)) return value
  // eslint-disable-next-line no-control-regex
  if (value === "" || value === "." || value === ".." || value.length > MAX_FILE_NAME || /[/\\:\u0000]/.test(value)) {
    malformed("file-name", `the data is said to be in "${quote(value)}", which is not a plain file name inside the checkpoint`, tensor)
  }
  known.add(value)
  return value
}
