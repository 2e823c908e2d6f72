/** Values of Python in words. */
import { quote } from "../errors.ts"
import { PyFloat, PyOpaque, type PyRead, PyTensorView } from "../torch/PyValue.ts"

/** Longest value shown. */
const LONGEST_TEXT = 60

/** One value in a few words. */
export const describeValue = (value: PyRead): string => {
  if (value === null) return "None"
  if (typeof value === "string") return quote(value).slice(0, LONGEST_TEXT)
  if (value instanceof PyFloat) return String(value.value)
  if (value instanceof PyTensorView) return `tensor ${value.view.dtype} [${value.view.shape}]`
  if (value instanceof PyOpaque) return `${value.module}.${value.name}`
  if (value instanceof Map) {
    const inner = [...value].map(([k, v]) => `${describeValue(k)}=${describeValue(v)}`).join(", ")
    return inner.length <= LONGEST_TEXT * 2 ? `{${inner}}` : `dict of ${value.size}`
  }
  if (Array.isArray(value)) return `list of ${value.length}`
  return String(value)
}

/** The entries of a dict, in words. */
export const factsOf = (value: PyRead | undefined): ReadonlyMap<string, string> => {
  const facts = new Map<string, string>()
  if (value instanceof Map) for (const [key, item] of value as ReadonlyMap<PyRead, PyRead>) facts.set(String(key), describeValue(item))
  return facts
}
