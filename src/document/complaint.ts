/** What a schema has against a value, in words that name the value. */
import { quote } from "../errors.ts"

/** Of a zod issue, what is used here. */
export interface Issue {
  readonly path: ReadonlyArray<PropertyKey>
  readonly message: string
  readonly code?: string | undefined
  readonly expected?: string | undefined
  readonly minimum?: number | bigint | undefined
  readonly maximum?: number | bigint | undefined
  readonly inclusive?: boolean | undefined
  readonly values?: ReadonlyArray<unknown> | undefined
  readonly errors?: ReadonlyArray<ReadonlyArray<Issue>> | undefined
}

const LONGEST_VALUE = 60

/** A value as it stands in the document, cut. */
const shown = (value: unknown): string => {
  if (Array.isArray(value)) return "a list"
  if (typeof value === "object" && value !== null) return "an object"
  const text = typeof value === "string" ? `"${quote(value)}"` : String(value)
  return text.length <= LONGEST_VALUE ? text : `${text.slice(0, LONGEST_VALUE)}…`
}

const EXPECTED: Readonly<Record<string, string>> = {
  int: "a whole number",
  number: "a number",
  string: "a string",
  boolean: "true or false",
  object: "an object",
  record: "an object",
  array: "a list",
  tuple: "a list"
}

const at = (document: unknown, path: ReadonlyArray<PropertyKey>): unknown =>
  path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | null | undefined)?.[key], document)

/** The complaint about the value at the issue's path of `document`. */
export const complaint = (issue: Issue, document: unknown): string => {
  const value = at(document, issue.path)
  const { code, expected, inclusive = true, maximum, minimum, values } = issue
  const found = value === undefined ? "is missing" : `${shown(value)} is`
  if (code === "invalid_type" && typeof value === "bigint") return `${shown(value)} is too large`
  if (code === "invalid_type" && expected !== undefined) {
    return value === undefined ? "is missing" : `${found} not ${EXPECTED[expected] ?? expected}`
  }
  if (code === "too_small" && minimum !== undefined && typeof value === "number") {
    return `${found} ${inclusive ? `less than ${minimum}` : `not greater than ${minimum}`}`
  }
  if (code === "too_big" && maximum !== undefined && typeof value === "number") return `${found} more than ${maximum}`
  if (code === "invalid_value" && values !== undefined && value !== undefined) {
    return `${found} ${values.length === 1 ? `not ${shown(values[0])}` : `none of ${values.map(String).join(", ")}`}`
  }
  return value === undefined ? "is missing" : quote(issue.message)
}
