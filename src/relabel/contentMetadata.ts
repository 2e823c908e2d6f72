/** `content_metadata` of the common state: the flags by which a loader decides which keys it asks for. */
import { Unsupported } from "../errors.ts"
import { PyFloat, type PyRead, PyOpaque, PyTensorView, type PyValue } from "../torch/PyValue.ts"

const FIELD = "content_metadata"

/** What was read as a value that can be written; classes and tensors cannot. */
const writable = (value: PyRead, path: string): PyValue => {
  if (value instanceof PyOpaque || value instanceof PyTensorView) {
    throw new Unsupported({
      what: `common state, ${path}`,
      problem: `holds an object of Python (${value instanceof PyOpaque ? `${value.module}.${value.name}` : "a tensor"}), so its content_metadata cannot be changed without Python`,
      hint: "Relabel a checkpoint that was saved without training arguments, or leave layers and experts as they are."
    })
  }
  if (value instanceof PyFloat || value === null || typeof value !== "object") return value
  if (value instanceof Map) return new Map([...value as ReadonlyMap<PyRead, PyRead>].map(([k, v]) => [writable(k, path), writable(v, `${path}.${String(k)}`)]))
  return (value as ReadonlyArray<PyRead>).map((item, i) => writable(item, `${path}[${i}]`))
}

/** The common state with some flags set or removed; undefined where nothing changes. */
export const withFlags = (common: PyRead, flags: ReadonlyMap<string, boolean | null>): ReadonlyMap<PyValue, PyValue> | undefined => {
  if (!(common instanceof Map)) throw new Unsupported({ what: "common state", problem: "is not a dict" })
  const old = (common as ReadonlyMap<PyRead, PyRead>).get(FIELD)
  const current = old instanceof Map ? old as ReadonlyMap<PyRead, PyRead> : new Map<PyRead, PyRead>()
  const changes = [...flags].filter(([field, value]) => (value === null ? current.has(field) : current.get(field) !== value))
  if (changes.length === 0) return undefined
  const out = writable(common, "") as Map<PyValue, PyValue>
  const content = new Map(writable(current, FIELD) as ReadonlyMap<PyValue, PyValue>)
  for (const [field, value] of changes) {
    if (value === null) content.delete(field)
    else content.set(field, value)
  }
  return out.set(FIELD, content)
}
