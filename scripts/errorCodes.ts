/**
 * The error codes that the source can raise, found in its text: literal codes, and codes that a file's helper puts a prefix
 * before (`const fail = (code: string, …) => { throw new FormatError(\`zip/${code}\`, …`).
 */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"

const root = new URL("..", import.meta.url).pathname

const LITERAL = /(?:FormatError\(\s*|\bcode: )"([a-z0-9-]+\/[a-z0-9-]+)"/g
const HELPER = /(?:const |readonly |^ {2})(#?\w+)(?: = |)\(([^()]*\bcode: string[^()]*)\)[^{=]*(?:=>|\{)(?:(?!\n}\n|\n {2}}\n)[\s\S]){0,400}?`([a-z0-9-]+\/[a-z0-9-]*)\$\{code\}`/gm
/** JsonScanner takes its prefix from whoever uses it. */
const SCANNER = "src/document/JsonScanner.ts"
const SCANNER_USERS = "src/document/StrictJson.ts"
const SCANNER_PREFIX = /codes: "([a-z-]+\/[a-z-]*)"/g

interface Helper {
  readonly name: string
  readonly position: number
  readonly prefix: string
}

const sources = (): ReadonlyMap<string, string> =>
  new Map(["src", "routes"].flatMap((room) =>
    readdirSync(join(root, room), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
      .map((entry) => {
        const path = join(entry.parentPath, entry.name)
        return [relative(root, path), readFileSync(path, "utf8")] as const
      })))

const helpersIn = (text: string): ReadonlyArray<Helper> =>
  [...text.matchAll(HELPER)].map(([, name, parameters, prefix]) => ({
    name: name!,
    position: parameters!.split(",").findIndex((p) => /\bcode: string/.test(p)),
    prefix: prefix!
  }))

/** The arguments of the call whose bracket opens at `open`. */
const argumentsAt = (text: string, open: number): ReadonlyArray<string> => {
  const out: Array<string> = []
  let depth = 0
  let quote = ""
  let start = open + 1
  for (let i = open; i < text.length; i++) {
    const c = text[i]!
    if (quote !== "") {
      if (c === "\\") i++
      else if (c === quote) quote = ""
    } else if (c === "\"" || c === "'" || c === "`") quote = c
    else if ("([{".includes(c)) depth++
    else if (")]}".includes(c)) {
      if (--depth === 0) return [...out, text.slice(start, i)]
    } else if (c === "," && depth === 1) {
      out.push(text.slice(start, i))
      start = i + 1
    }
  }
  return out
}

const calls = (text: string, { name, position, prefix }: Helper): ReadonlyArray<string> =>
  [...text.matchAll(new RegExp(`(?<!const )(?<![\\w$])${name}\\(`, "g"))].flatMap((match) => {
    const argument = argumentsAt(text, match.index + match[0].length - 1)[position] ?? ""
    return [...argument.matchAll(/"([a-z0-9-]+)"/g)].map(([, code]) => prefix + code!)
  })

const importsOf = (file: string, text: string): ReadonlyArray<string> =>
  [...text.matchAll(/from "(\.[^"]+)"/g)].map((match) => relative(root, resolve(root, dirname(file), match[1]!)))

/** Every code, sorted, with the files that raise it. */
export const errorCodes = (): ReadonlyMap<string, ReadonlyArray<string>> => {
  const all = sources()
  const helpers = new Map([...all].map(([file, text]) => [file, helpersIn(text)]))
  const found = new Map<string, Set<string>>()
  const add = (code: string, file: string) => found.set(code, (found.get(code) ?? new Set()).add(file))
  for (const [file, text] of all) {
    for (const match of text.matchAll(LITERAL)) add(match[1]!, file)
    const own = helpers.get(file)!
    const names = new Set(own.map((h) => h.name))
    const usable = [...own, ...importsOf(file, text).flatMap((other) => helpers.get(other) ?? []).filter((h) => !names.has(h.name))]
    for (const helper of usable) for (const code of calls(text, helper)) add(code, file)
  }
  const areas = new Set([...found.keys()].map((code) => code.slice(0, code.indexOf("/"))))
  for (const [file, text] of all) {
    for (const [, area, code] of text.matchAll(/"([a-z0-9-]+)\/([a-z0-9-]*[a-z0-9])"/g)) if (areas.has(area!)) add(`${area}/${code}`, file)
  }
  const scanner: Helper = { name: "fail", position: 0, prefix: "" }
  const own = [SCANNER, SCANNER_USERS].flatMap((file) => [...calls(all.get(file)!, scanner), ...[...all.get(file)!.matchAll(/\$\{codes\}([a-z-]+)`/g)].map((m) => m[1]!)])
  // Only documents that become records reserve a key.
  for (const [file, text] of all) for (const match of text.matchAll(SCANNER_PREFIX)) for (const code of own) if (code !== "reserved-key") add(match[1]! + code, file)
  for (const code of own) add(`json/${code}`, SCANNER)
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([code, files]) => [code, [...files].sort()]))
}
