/** From foreign bytes to a typed document: strict JSON, then a zod schema, every complaint in one {@link InvalidFile}. */
import type { ZodType } from "zod"
import { FormatError, InvalidFile, quote } from "../errors.ts"
import { complaint, type Issue } from "./complaint.ts"
import { offsetInJson, positioned } from "./position.ts"
import { type JsonLimits, parseJson } from "./StrictJson.ts"

/** More would bury the first, which usually causes the rest. */
const MOST_ISSUES = 10

const WHOLE = "(document)"

/** `vision_config.layers[3].kind` */
const fieldName = (path: ReadonlyArray<PropertyKey>): string =>
  path.reduce<string>((name, key) =>
    typeof key === "number" ? `${name}[${key}]` : name === "" ? quote(String(key)) : `${name}.${quote(String(key))}`, "") ||
  WHOLE

/** A union says nothing but "invalid": show what its nearest branch complains about. */
const leaves = (issue: Issue): ReadonlyArray<Issue> => {
  const branches = (issue.errors ?? []).filter((branch) => branch.length > 0)
  if (branches.length === 0) return [issue]
  const nearest = branches.reduce((best, branch) => branch.length < best.length ? branch : best)
  return nearest.flatMap((inner) => leaves({ ...inner, path: [...issue.path, ...inner.path] }))
}

/**
 * Check `value` against `schema` and return what the schema makes of it. `bytes`: the document, so that errors can say where.
 *
 * @throws InvalidFile `document/shape`: the field and what is wrong with it; of several, one line each, the first ten.
 */
export const decodeWith = <T>(schema: ZodType<T>, path: string, value: unknown, bytes?: Uint8Array): T => {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const fields = new Map<string, string>()
  const offsets: Array<number> = []
  for (const issue of (result.error.issues as ReadonlyArray<Issue>).flatMap(leaves)) {
    const field = fieldName(issue.path)
    // What is wrong first often makes the rest wrong too.
    if (fields.has(field)) continue
    fields.set(field, complaint(issue, value))
    if (bytes && offsets.length < MOST_ISSUES) offsets.push(offsetInJson(bytes, issue.path))
  }
  const [[field, problem] = ["", ""]] = fields
  const place = { ...(field === WHOLE || fields.size > 1 ? {} : { field }), ...(offsets[0] === undefined ? {} : { offset: offsets[0] }) }
  if (fields.size === 1) throw new InvalidFile({ path, code: "document/shape", problem, place })
  const lines = [...fields].slice(0, MOST_ISSUES).map(([name, wrong], i) => `\n  ${name}: ${wrong}${offsets[i] === undefined ? "" : ` (byte ${offsets[i]})`}`)
  const rest = fields.size > MOST_ISSUES ? `\n  … (${fields.size} problems in all)` : ""
  throw new InvalidFile({ path, code: "document/shape", problem: `is not what was expected:${lines.join("")}${rest}`, place })
}

/**
 * Run a parser that knows no paths; its {@link FormatError} becomes an {@link InvalidFile} of `path`. `bytes`: the document, in
 * which what the error names is looked for.
 */
export const atPath = <T>(path: string, parse: () => T, bytes?: Uint8Array): T => {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new InvalidFile({ path, code: error.code, problem: error.message, place: bytes ? positioned(error.place, bytes) : error.place })
  }
}

/**
 * {@link parseJson} and {@link decodeWith} in one step.
 *
 * @throws InvalidFile `json/…` or `document/shape`.
 */
export const decodeJson = <T>(schema: ZodType<T>, path: string, bytes: Uint8Array, limits: JsonLimits = {}): T =>
  decodeWith(schema, path, atPath(path, () => parseJson(bytes, limits)), bytes)
