/**
 * JSON exactly as Python 3's `json.dumps(value, indent=2)` writes it, ASCII only: the form of every `config.json` and
 * `*.index.json` that transformers and huggingface_hub write, so that files we rewrite differ only where they should.
 */
import { byCodePoint } from "./byCodePoint.ts"
import { JsonFloat, type JsonTree, type JsonValue } from "./StrictJson.ts"

export interface PythonJsonOptions {
  /** `sort_keys=True`: by code point, at every level. Default false: the order of the maps. */
  readonly sortKeys?: boolean
}

const string = (text: string): string =>
  JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** Python's `float.__repr__`: the same digits as JavaScript, another exponent. Integral values are written as integers. */
const number = (value: number): string => {
  if (Number.isNaN(value)) return "NaN"
  if (!Number.isFinite(value)) return value > 0 ? "Infinity" : "-Infinity"
  if (Number.isSafeInteger(value)) return Object.is(value, -0) ? "-0.0" : String(value)
  const [mantissa, exponent] = value.toExponential().split("e") as [string, string]
  const power = Number(exponent)
  if (power < -4 || power >= 16) return `${mantissa}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`
  return String(value)
}

const write = (value: JsonTree, newline: string, sortKeys: boolean, out: Array<string>): void => {
  if (value === null || typeof value === "boolean") out.push(String(value))
  else if (typeof value === "string") out.push(string(value))
  else if (typeof value === "number") out.push(number(value))
  else if (typeof value === "bigint") out.push(value.toString())
  else if (value instanceof JsonFloat) out.push(Math.abs(value.value) >= 1e16 ? number(value.value) : `${value.value}.0`)
  else {
    const inner = `${newline}  `
    const isMap = value instanceof Map
    const size = isMap ? value.size : (value as ReadonlyArray<JsonTree>).length
    if (size === 0) {
      out.push(isMap ? "{}" : "[]")
      return
    }
    out.push(isMap ? "{" : "[")
    let first = true
    const separate = (): void => {
      out.push(first ? inner : `,${inner}`)
      first = false
    }
    if (isMap) {
      const keys = [...(value as ReadonlyMap<string, JsonTree>).keys()]
      for (const key of sortKeys ? keys.sort(byCodePoint) : keys) {
        separate()
        out.push(string(key), ": ")
        write(value.get(key)!, inner, sortKeys, out)
      }
    } else {
      for (const item of value as ReadonlyArray<JsonTree>) {
        separate()
        write(item, inner, sortKeys, out)
      }
    }
    out.push(newline, isMap ? "}" : "]")
  }
}

/**
 * `json.dumps(value, indent=2, ensure_ascii=True)`, without a newline at the end. Objects are maps.
 *
 * **Gotchas**: a Python float with a whole value (`1.0`) comes out as `1` unless it is a {@link JsonFloat} (`keepFloats`).
 */
export const pythonJson = (value: JsonTree, options: PythonJsonOptions = {}): string => {
  const out: Array<string> = []
  write(value, "\n", options.sortKeys ?? false, out)
  return out.join("")
}

/** A value as a tree, for printing: numbers are floats where those of `like`, at the same place, are. */
export const treeLike = (value: JsonValue, like?: JsonTree): JsonTree => {
  if (typeof value === "number") return like instanceof JsonFloat && like.value === value ? like : value
  if (Array.isArray(value)) return (value as ReadonlyArray<JsonValue>).map((one, i) => treeLike(one, Array.isArray(like) ? (like as ReadonlyArray<JsonTree>)[i] : undefined))
  if (typeof value !== "object" || value === null) return value as JsonTree
  const known = like instanceof Map ? like as ReadonlyMap<string, JsonTree> : undefined
  return new Map(Object.entries(value).map(([key, one]) => [key, treeLike(one as JsonValue, known?.get(key))]))
}
