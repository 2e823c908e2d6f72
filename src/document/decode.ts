/** From foreign bytes to a typed document: strict JSON, then a zod schema, every complaint in one {@link InvalidFile}. */
import type { ZodType } from "zod"
import { FormatError, InvalidFile, invalidFile, quote } from "../errors.ts"
import { type JsonLimits, parseJson } from "./StrictJson.ts"

/** More would bury the first, which usually causes the rest. */
const MOST_ISSUES = 10

interface Issue {
  readonly path: ReadonlyArray<PropertyKey>
  readonly message: string
  readonly errors?: ReadonlyArray<ReadonlyArray<Issue>>
}

/** `vision_config.layers[3].kind`; `(document)` for the whole. */
const fieldName = (path: ReadonlyArray<PropertyKey>): string =>
  path.reduce<string>((name, key) =>
    typeof key === "number" ? `${name}[${key}]` : name === "" ? quote(String(key)) : `${name}.${quote(String(key))}`, "") ||
  "(document)"

/** A union says nothing but "invalid": show what its nearest branch complains about. */
const leaves = (issue: Issue): ReadonlyArray<Issue> => {
  const branches = (issue.errors ?? []).filter((branch) => branch.length > 0)
  if (branches.length === 0) return [issue]
  const nearest = branches.reduce((best, branch) => branch.length < best.length ? branch : best)
  return nearest.flatMap((inner) => leaves({ ...inner, path: [...issue.path, ...inner.path] }))
}

/**
 * Check `value` against `schema` and return what the schema makes of it.
 *
 * @throws InvalidFile `document/shape`: one line `field: problem` per issue, the first ten.
 */
export const decodeWith = <T>(schema: ZodType<T>, path: string, value: unknown): T => {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = (result.error.issues as ReadonlyArray<Issue>).flatMap(leaves)
  const lines = issues.slice(0, MOST_ISSUES).map((issue) => `\n  ${fieldName(issue.path)}: ${quote(issue.message)}`)
  const rest = issues.length > MOST_ISSUES ? `\n  … (${issues.length} problems in all)` : ""
  throw new InvalidFile({ path, code: "document/shape", problem: `is not what was expected:${lines.join("")}${rest}` })
}

/** Run a parser that knows no paths; its {@link FormatError} becomes an {@link InvalidFile} of `path`. */
export const atPath = <T>(path: string, parse: () => T): T => {
  try {
    return parse()
  } catch (error) {
    throw error instanceof FormatError ? invalidFile(path, error) : error
  }
}

/**
 * {@link parseJson} and {@link decodeWith} in one step.
 *
 * @throws InvalidFile `json/…` or `document/shape`.
 */
export const decodeJson = <T>(schema: ZodType<T>, path: string, bytes: Uint8Array, limits: JsonLimits = {}): T =>
  decodeWith(schema, path, atPath(path, () => parseJson(bytes, limits)))
