/**
 * Where in a document something stands that is known by name only. Asked when an error is about to be told, so the document is
 * read once more, and nothing is kept for it while all is well.
 */
import type { Place } from "../errors.ts"
import { JsonScanner } from "./JsonScanner.ts"
import { skipValue } from "./StrictJson.ts"

const OBJECT = 0x7b
const ARRAY = 0x5b

/** `vision_config.layers[3].kind` as a path. */
const pathOf = (field: string): ReadonlyArray<string | number> =>
  field.split(".").flatMap((part) => {
    const [, name = part, indexes = ""] = /^(.*?)((?:\[\d+\])*)$/.exec(part) ?? []
    return [...(name === "" ? [] : [name]), ...[...indexes.matchAll(/\d+/g)].map(([digits]) => Number(digits))]
  })

const LIMITS = { allowNonFinite: true, maxValues: Infinity }

/** The value of `key` in the object or list at the scanner, which then stands at it; false if there is none. */
const enter = (scanner: JsonScanner, key: string | number): boolean => {
  const open = scanner.peek()
  if (open !== OBJECT && open !== ARRAY) return false
  scanner.position++
  for (let i = 0; ; i++) {
    const next = scanner.peek()
    if (next === 0x7d || next === 0x5d || next === -1) return false
    const own = open === OBJECT ? scanner.string() : i
    if (open === OBJECT) scanner.expect(0x3a)
    scanner.peek()
    if (own === key) return true
    skipValue(scanner, LIMITS)
    if (!scanner.take(0x2c)) return false
  }
}

/** Byte offset of the value at `path` of a JSON document, or of the innermost value on the way that is there. */
export const offsetInJson = (bytes: Uint8Array, path: ReadonlyArray<PropertyKey>): number => {
  let at = 0
  try {
    const scanner = new JsonScanner(bytes, { codes: "json/" })
    scanner.peek()
    at = scanner.position
    for (const key of path) {
      if (typeof key === "symbol" || !enter(scanner, key)) break
      at = scanner.position
    }
  } catch {
    // Not JSON, or not to this point: what was reached is said.
  }
  return at
}

/** Byte offset of a name, as a string of JSON or as it is; undefined where it does not occur. */
export const offsetOfName = (bytes: Uint8Array, name: string): number | undefined => {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const asJson = buffer.indexOf(JSON.stringify(name))
  const found = asJson >= 0 ? asJson : buffer.indexOf(name)
  return found < 0 ? undefined : found
}

/** The place with the byte offset of the tensor or field that it names; of a document as a whole: where it begins. */
export const positioned = (place: Place, bytes: Uint8Array): Place => {
  if (place.offset !== undefined || place.record !== undefined) return place
  const named = place.tensor === undefined ? undefined : offsetOfName(bytes, place.tensor)
  return { ...place, offset: named ?? (place.field === undefined ? 0 : offsetInJson(bytes, pathOf(place.field))) }
}
