/** Values as the YAML that PyYAML's safe_dump writes: block style, sorted keys, YAML 1.1 floats. */
import { Document, isMap, Pair, Scalar, YAMLMap, YAMLSeq } from "yaml"
import { FloatText, floatTextTag, pythonFloat } from "./FloatText.ts"
import type { Float, PythonName, PythonObject, PythonValue } from "./Provider.ts"

const isFloat = (v: PythonValue): v is Float => typeof v === "object" && v !== null && "$float" in v
const isName = (v: PythonValue): v is PythonName => typeof v === "object" && v !== null && "$name" in v
const isObject = (v: PythonValue): v is PythonObject => typeof v === "object" && v !== null && "$class" in v

/** A value as a node of a document whose schema knows {@link floatTextTag}. */
export const toNode = (value: PythonValue): Scalar | YAMLMap | YAMLSeq => {
  if (value === null || typeof value === "boolean" || typeof value === "string") return new Scalar(value)
  if (typeof value === "number") return new Scalar(Number.isInteger(value) ? value : new FloatText(pythonFloat(value)))
  if (isFloat(value)) return new Scalar(new FloatText(pythonFloat(value.$float)))
  if (isName(value)) return mapping({ _call_: false, _target_: value.$name })
  if (isObject(value)) return mapping({ ...value.fields, _target_: value.$class })
  if (Array.isArray(value)) {
    const seq = new YAMLSeq()
    seq.items = (value as ReadonlyArray<PythonValue>).map(toNode)
    if (seq.items.length === 0) seq.flow = true
    return seq
  }
  return mapping(value as { readonly [field: string]: PythonValue })
}

const mapping = (fields: { readonly [field: string]: PythonValue }): YAMLMap => {
  const map = new YAMLMap()
  map.items = Object.keys(fields).sort().map((key) => new Pair(new Scalar(key), toNode(fields[key]!)))
  if (map.items.length === 0) map.flow = true
  return map
}

export const toYaml = (value: PythonValue): string => {
  const document = new Document(undefined, { version: "1.1", customTags: (tags) => [floatTextTag, ...tags] })
  document.contents = toNode(value) as never
  if (!isMap(document.contents)) throw new RangeError("a run configuration is a mapping")
  return document.toString({ lineWidth: 0, indentSeq: false, directives: false, nullStr: "null" })
}
