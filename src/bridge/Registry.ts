/**
 * An ordered list of mapping rows and the lookup rules of the reference: the first row whose pattern matches wins, `*` stands
 * for digits, `**` for anything; captures fill the HF names from left to right, every `**` first, then every `*`.
 */
import { quote } from "../errors.ts"
import type { Parameter } from "../model/Parameter.ts"
import { direct } from "./kinds.ts"
import type { Relation, Row, RowSource } from "./Mapping.ts"

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

const compile = (pattern: string, digits: (literal: string) => string = escape): RegExp =>
  new RegExp(`^${pattern.split(/(\*\*|\*)/).map((p) => (p === "**" ? "(.*)" : p === "*" ? "(\\d+)" : digits(p))).join("")}$`)

/** Literal numbers in a pattern widened to any number: a cheap first sieve that depends only on a name with its digits masked. */
const widened = (pattern: string): RegExp => compile(pattern, (literal) => escape(literal).replace(/\d+/g, "\\d+"))

/**
 * The first number of a pattern that matches no other: rows of single layers are told apart by it. Undefined where a wildcard
 * comes first, or right behind.
 */
const firstNumber = (pattern: string): string | undefined => /^[^\d*]*(\d+)(?![\d*])/.exec(pattern)?.[1]

const wildcards = (pattern: string): number => (pattern.match(/\*\*|\*/g) ?? []).length

/** Fill a pattern with captures: every `**` first, then every `*`, from left to right. */
export const resolve = (pattern: string, captures: ReadonlyArray<string>): string => {
  let next = 0
  const fill = (text: string, token: RegExp) => text.replace(token, () => captures[next++] ?? "")
  return fill(fill(pattern, /\*\*/g), /\*/g)
}

export interface Match {
  readonly row: Row
  readonly names: ReadonlyArray<string>
  readonly captures: ReadonlyArray<string>
}

/** Row numbers: of all rows without a first number, and of those together with the rows that have one, by that. */
interface Candidates {
  readonly any: ReadonlyArray<number>
  readonly byNumber: ReadonlyMap<string, ReadonlyArray<number>>
}

/** The rows of one model, found by Megatron name: of several that match, the first. */
export class MappingRegistry {
  readonly rows: ReadonlyArray<Row>
  readonly #strict: Array<RegExp | undefined> = []
  /** Rows of single layers share theirs. */
  readonly #wide: ReadonlyArray<RegExp>
  #claims: ReadonlyArray<readonly [row: Row, patterns: ReadonlyArray<RegExp>]> | undefined
  /** Row numbers that can match a name, by the name with its digits masked. */
  readonly #candidates = new Map<string, Candidates>()

  constructor(rows: Iterable<Row>) {
    this.rows = [...rows]
    for (const row of this.rows) {
      for (const hf of row.hf) {
        if (wildcards(hf) > wildcards(row.megatron)) throw new RangeError(`row ${row.megatron}: ${hf} has more wildcards`)
      }
    }
    const wide = new Map<string, RegExp>()
    this.#wide = this.rows.map(({ megatron }) => {
      const source = megatron.replace(/\d+/g, "0")
      const known = wide.get(source)
      if (!known) wide.set(source, widened(megatron))
      return known ?? wide.get(source)!
    })
  }

  /** The first row for a Megatron parameter, with its HF names resolved. */
  lookup(name: string): Match | undefined {
    const mask = name.replace(/\d+/g, "0")
    let found = this.#candidates.get(mask)
    if (!found) this.#candidates.set(mask, found = this.#sieve(name))
    const candidates = found.byNumber.get(/\d+/.exec(name)?.[0] ?? "") ?? found.any
    for (const i of candidates) {
      const match = (this.#strict[i] ??= compile(this.rows[i]!.megatron)).exec(name)
      if (match) {
        const captures = match.slice(1)
        const row = this.rows[i]!
        const names = row.hf.map((p) => resolve(p, captures))
        return { row, names: row.spelling ? names.map(row.spelling.stored) : names, captures }
      }
    }
    return undefined
  }

  /** The rows that can match a name of these letters, whatever its numbers. */
  #sieve(name: string): Candidates {
    const any: Array<number> = []
    const byNumber = new Map<string, Array<number>>()
    const matching = new Set([...new Set(this.#wide)].filter((pattern) => pattern.test(name)))
    for (const [i, row] of this.rows.entries()) {
      if (!matching.has(this.#wide[i]!)) continue
      const number = firstNumber(row.megatron)
      if (number === undefined) {
        any.push(i)
        for (const own of byNumber.values()) own.push(i)
      } else if (byNumber.has(number)) byNumber.get(number)!.push(i)
      else byNumber.set(number, [...any, i])
    }
    return { any, byNumber }
  }

  /** What a parameter is made of; undefined if no row names it. */
  relate(parameter: Parameter): (Relation & { readonly match: Match }) | undefined {
    const match = this.lookup(parameter.name)
    return match && { ...match.row.kind.relate(parameter, match.names, match.captures), match }
  }

  /** Rows that would claim an HF tensor of this name, whether or not the model has their parameter. */
  claimants(hfName: string): ReadonlyArray<Row> {
    this.#claims ??= this.rows.map((row) => [row, row.hf.map((pattern) => compile(pattern))])
    return this.#claims.filter(([row, patterns]) => patterns.some((pattern) => pattern.test(row.spelling ? row.spelling.published(hfName) : hfName))).map(([row]) => row)
  }

  /** Keep the rows below `prefix` and put `instead` in its place in their Megatron names; HF names stay (a route-local registry). */
  strip(prefix: string, instead = ""): MappingRegistry {
    return new MappingRegistry(
      this.rows.filter((r) => r.megatron.startsWith(prefix)).map((r) => ({ ...r, megatron: instead + r.megatron.slice(prefix.length) }))
    )
  }

  /** One printable line per row. */
  describe(): ReadonlyArray<string> {
    return this.rows.map((r) => `${quote(r.megatron)} ⇐ ${r.hf.map(quote).join(", ")} [${r.kind.name}]`)
  }
}

/** A table of rows below two prefixes, in order: `{ "mlp.linear_fc2.weight": "mlp.down_proj.weight", … }`. */
export type Table = Readonly<Record<string, string | RowSource>>

/** Rows from a table, below a Megatron and an HF prefix. */
export const rows = (megatron: string, hf: string, table: Table): Array<Row> =>
  Object.entries(table).map(([name, source]) => {
    const { hf: names, kind } = typeof source === "string" ? { hf: [source], kind: direct } : source
    return { megatron: megatron + name, hf: names.map((n) => hf + n), kind }
  })
