/**
 * Text from strangers' files on its way to people: whatever a terminal obeys, whatever is not seen or turns the text around is
 * written as `\uXXXX`. Messages quote what they name; results are cleaned whole where they leave ({@link cleaned}).
 */

// eslint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|\udb40[\udc00-\udfff]/g

const coded = (text: string): string =>
  Array.from({ length: text.length }, (_, i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, "0")}`).join("")

/** The text with each such character as `\uXXXX`. */
export const escaped = (text: string): string => text.replace(UNSAFE, coded)

const LONGEST_QUOTE = 200
const LONGEST_PATH = 800

/** Names come from strangers' files: control characters are escaped, long ones cut. */
export const quote = (text: string): string => {
  const safe = escaped(text)
  return safe.length <= LONGEST_QUOTE ? safe : `${safe.slice(0, LONGEST_QUOTE)}… (${safe.length} characters)`
}

/** What joining has made of the beginning of an address. */
const ADDRESS = /^(hf|https?|s3):\/(?!\/)/

/** Paths are longer, and what matters most stands at their end. */
export const quotePath = (path: string): string => {
  const safe = escaped(path).replace(ADDRESS, "$1://")
  return safe.length <= LONGEST_PATH ? safe : `${safe.slice(0, LONGEST_PATH / 2)}…${safe.slice(-LONGEST_PATH / 2)}`
}

/** `first ten, and the count` of a list of names. */
export const some = (names: ReadonlyArray<string>, limit = 10): string =>
  names.slice(0, limit).map((name) => name.trim() === name && name !== "" ? quote(name) : `"${quote(name)}"`).join(", ") + (names.length > limit ? `, … (${names.length} in all)` : "")

/** Lines of a message in one. */
export const oneLine = (text: string): string => text.replaceAll(/\s*\n\s*/g, " ")

/** Plain data with every string and every key in it escaped; the same object where there is nothing to escape. */
export const cleaned = <A>(value: A): A => cleanedValue(value) as A

const cleanedValue = (value: unknown): unknown => {
  if (typeof value === "string") return escaped(value)
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) {
    let copy: Array<unknown> | undefined
    for (const [i, item] of value.entries()) {
      const clean = cleanedValue(item)
      if (clean !== item) (copy ??= [...value])[i] = clean
    }
    return copy ?? value
  }
  const entries = Object.entries(value)
  const clean = entries.map(([key, item]) => [escaped(key), cleanedValue(item)] as const)
  return clean.every(([key, item], i) => key === entries[i]![0] && item === entries[i]![1]) ? value : Object.fromEntries(clean)
}

/** JSON whose strings have such characters as the escapes of JSON: the same document, safe to look at. */
export const safeJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, undefined, indent).replace(UNSAFE, (text) => (text === "\n" ? text : coded(text)))
