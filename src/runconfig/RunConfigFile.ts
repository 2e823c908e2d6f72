/**
 * Reading `run_config.yaml`, as data: `_target_` strings name Python classes and stay strings, no tag makes anything happen.
 * The file may come from anybody, so its size, nesting and aliases are bounded before the YAML library sees them.
 */
import { type Alias, type Document, isAlias, isMap, isScalar, isSeq, Lexer, type Node, parseDocument, visit } from "yaml"
import { firstInvalidUtf8 } from "../document/utf8.ts"
import { FormatError, quote } from "../errors.ts"
import type { PythonValue } from "./Provider.ts"

/** Real files have 25 KB; a config with inlined data paths stays below 1 MB. */
export const LARGEST_RUN_CONFIG = 4 << 20
/** The library recurses once per level; real files have 8. */
const DEEPEST = 64
const LARGEST_INDENT = 4 * DEEPEST
/** The library takes some 5 µs for each, so a second or two in all; real files have 5,000. */
const MOST_TOKENS = 600_000
/** Nodes, counting for each alias what it stands for. */
const MOST_VALUES = 200_000
const MOST_ALIASES = 1000

/** A mapping node, keys in the order of the file. */
export interface RunConfigMap {
  readonly [field: string]: PythonValue
}

/** `offset`: in characters of the text. */
const fail = (code: string, problem: string, offset?: number): never => {
  throw new FormatError(`run-config/${code}`, problem, offset === undefined ? {} : { offset })
}

/** Where a node stands. */
const startOf = (node: unknown): number | undefined => (node as Node | null | undefined)?.range?.[0]

/** Places in characters become places in bytes. */
const inBytes = <T>(text: string, parse: () => T): T => {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof FormatError) || error.place.offset === undefined) throw error
    throw new FormatError(error.code, error.message, { ...error.place, offset: Buffer.byteLength(text.slice(0, error.place.offset)) })
  }
}

/**
 * Limits that hold before the library builds anything: it recurses once per level, and nothing interrupts it. Flow brackets,
 * indentation and `- - -` are the only ways to nest.
 */
const checkTokens = (text: string): void => {
  let flow = 0
  let inRow = 0
  let offset = 0
  let tokens = 0
  for (const token of new Lexer().lex(text)) {
    if (++tokens > MOST_TOKENS) fail("too-many-values", `has more than ${MOST_TOKENS} tokens`, offset)
    const first = token[0]
    if (first === "[" || first === "{") flow++
    else if (first === "]" || first === "}") flow = Math.max(0, flow - 1)
    if (token === "-" || token === "?" || token === ":") inRow++
    else if (first !== " ") inRow = 0
    const indent = first === " " && token.trim() === "" && !token.includes("\n") ? token.length : 0
    if (flow > DEEPEST || inRow > DEEPEST || indent > LARGEST_INDENT) fail("depth", `is nested deeper than ${DEEPEST} levels`, offset)
    // The marks that the lexer puts before scalars and documents are not in the file.
    if (!MARK.test(token)) offset += token.length
  }
}

// eslint-disable-next-line no-control-regex
const MARK = /^[\u0002\u0018\u001f]$/

const value = (node: unknown, budget: { left: number }, depth: number): PythonValue => {
  if (budget.left-- <= 0) return fail("too-many-values", `holds more than ${MOST_VALUES} values`, startOf(node))
  if (depth > DEEPEST * 3) return fail("depth", "is nested too deeply", startOf(node))
  if (node === null || node === undefined) return null
  if (isMap(node)) {
    const map = Object.create(null) as Record<string, PythonValue>
    for (const { key, value: item } of node.items) {
      const name = isScalar(key) ? String(key.source ?? key.value) : fail("key", "a key is not a plain scalar", startOf(key))
      if (name === "__proto__") fail("key", "the key __proto__ is not allowed", startOf(key))
      if (name in map) fail("duplicate-key", `the key ${quote(name)} stands twice in one mapping`, startOf(key))
      map[name] = value(item, budget, depth + 1)
    }
    return map
  }
  if (isSeq(node)) return node.items.map((item) => value(item, budget, depth + 1))
  if (!isScalar(node)) throw new RangeError("a YAML node that is neither mapping, list nor scalar")
  return scalar(node.value, node.source, startOf(node))
}

const scalar = (found: unknown, source: string | undefined, at: number | undefined): PythonValue => {
  if (found === null || typeof found === "boolean" || typeof found === "string") return found
  if (typeof found === "bigint") {
    return Number.isSafeInteger(Number(found)) ? Number(found) : fail("integer", `the integer ${found} is beyond 2^53`, at)
  }
  // Whole floats must stay floats when they are written again.
  if (typeof found === "number") return { $float: found }
  return source ?? null
}

/**
 * Parse the text of a run configuration. Integers are numbers, floats `{$float}`, everything else plain data; tags are ignored.
 *
 * @throws FormatError `run-config/` + `too-large`, `depth`, `syntax`, `aliases`, `key`, `duplicate-key`, `too-many-values`,
 * `integer` or `not-a-mapping`.
 */
export const parseRunConfig = (bytes: Uint8Array): RunConfigMap => {
  const text = decode(bytes)
  return inBytes(text, () => {
    const document = documentOf(text)
    const budget = { left: MOST_VALUES }
    const targets = aliasTargets(document)
    const resolve = (node: unknown): unknown => isAlias(node) ? targets.get(node) : node
    const root = value(resolved(document.contents, resolve, budget, 0), budget, 0)
    return isMapping(root) ? root : fail("not-a-mapping", "is not a mapping", startOf(document.contents) ?? 0)
  })
}

/** The file as a YAML document that can be edited and printed again; the limits are checked, the values are not. */
export const runConfigDocument = (bytes: Uint8Array): Document.Parsed => {
  const text = decode(bytes)
  return inBytes(text, () => documentOf(text))
}

const documentOf = (text: string): Document.Parsed => {
  checkTokens(text)
  // Keys are compared here: the library compares each with all others of its mapping.
  const document = parseDocument(text, { version: "1.1", schema: "yaml-1.1", intAsBigInt: true, logLevel: "error", resolveKnownTags: false, merge: false, uniqueKeys: false })
  const error = document.errors[0]
  if (error) fail("syntax", `is not YAML: ${error.message.split("\n")[0]}`, error.pos[0])
  visit(document, {
    Map: (_, { items }) => {
      const names = new Set<string>()
      for (const { key } of items) {
        const name = isScalar(key) ? String(key.source ?? key.value) : undefined
        if (name !== undefined && names.has(name)) fail("duplicate-key", `the key ${quote(name)} stands twice in one mapping`, startOf(key))
        if (name !== undefined) names.add(name)
      }
    }
  })
  aliasTargets(document)
  return document
}

/** What each alias stands for: the last node before it that has the anchor. */
const aliasTargets = (document: Document.Parsed): ReadonlyMap<Alias, Node> => {
  const anchors = new Map<string, Node>()
  const targets = new Map<Alias, Node>()
  visit(document, {
    Node: (_, node) => {
      if (!isAlias(node)) {
        if (node.anchor !== undefined) anchors.set(node.anchor, node)
        return
      }
      if (targets.size === MOST_ALIASES) fail("aliases", `has more than ${MOST_ALIASES} aliases`, startOf(node))
      const target = anchors.get(node.source) ?? fail("aliases", `the alias *${quote(node.source)} stands for nothing: there is no &${quote(node.source)} before it`, startOf(node))
      targets.set(node, target)
    }
  })
  return targets
}

const decode = (bytes: Uint8Array): string => {
  if (bytes.byteLength > LARGEST_RUN_CONFIG) throw new FormatError("run-config/too-large", `has ${bytes.byteLength} bytes, at most ${LARGEST_RUN_CONFIG} are read`, { offset: LARGEST_RUN_CONFIG })
  try {
    // A mark at the start is kept, so that places are those of the file.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new FormatError("run-config/syntax", "is not UTF-8", { offset: firstInvalidUtf8(bytes) })
  }
}

/** Replace aliases by what they stand for, within the budget. */
const resolved = (node: Node | null, resolve: (node: unknown) => unknown, budget: { left: number }, depth: number): Node | null => {
  if (budget.left-- <= 0) return fail("too-many-values", `holds more than ${MOST_VALUES} values`, startOf(node))
  if (depth > DEEPEST * 3) return fail("depth", "an alias stands for something that contains it", startOf(node))
  const target = resolve(node) as Node | null
  if (isMap(target)) for (const pair of target.items) pair.value = resolved(pair.value as Node | null, resolve, budget, depth + 1)
  else if (isSeq(target)) target.items = target.items.map((item) => resolved(item as Node | null, resolve, budget, depth + 1))
  return target
}

export const isMapping = (v: PythonValue | undefined): v is RunConfigMap =>
  typeof v === "object" && v !== null && !Array.isArray(v) && !("$float" in v)

/** The mapping at a path of fields, if there is one. */
export const sectionAt = (root: RunConfigMap, ...path: ReadonlyArray<string>): RunConfigMap | undefined => {
  let at: PythonValue | undefined = root
  for (const field of path) at = isMapping(at) ? at[field] : undefined
  return isMapping(at) ? at : undefined
}

/** A scalar field as a number or string; undefined where it is absent or something else. */
export const numberAt = (map: RunConfigMap | undefined, field: string): number | undefined => {
  const found = map?.[field]
  if (typeof found === "number") return found
  return typeof found === "object" && found !== null && "$float" in found ? (found as { $float: number }).$float : undefined
}

export const textAt = (map: RunConfigMap | undefined, field: string): string | undefined => {
  const found = map?.[field]
  return typeof found === "string" ? found : undefined
}

/** The section that describes the (standard) model: the provider, or the one inside a MIMO provider. */
export const providerOf = (config: RunConfigMap): RunConfigMap | undefined =>
  sectionAt(config, "model", "standard_provider") ?? sectionAt(config, "model")
