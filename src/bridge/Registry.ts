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

export class MappingRegistry {
  readonly rows: ReadonlyArray<Row>
  readonly #strict: ReadonlyArray<RegExp>
  readonly #wide: ReadonlyArray<RegExp>
  /** Row numbers that can match a name, by the name with its digits masked. */
  readonly #candidates = new Map<string, ReadonlyArray<number>>()

  constructor(rows: Iterable<Row>) {
    this.rows = [...rows]
    for (const row of this.rows) {
      for (const hf of row.hf) {
        if (wildcards(hf) > wildcards(row.megatron)) throw new RangeError(`row ${row.megatron}: ${hf} has more wildcards`)
      }
    }
    this.#strict = this.rows.map((r) => compile(r.megatron))
    this.#wide = this.rows.map((r) => widened(r.megatron))
  }

  /** The first row for a Megatron parameter, with its HF names resolved. */
  lookup(name: string): Match | undefined {
    const mask = name.replace(/\d+/g, "0")
    let candidates = this.#candidates.get(mask)
    if (!candidates) {
      candidates = this.rows.flatMap((_, i) => (this.#wide[i]!.test(name) ? [i] : []))
      this.#candidates.set(mask, candidates)
    }
    for (const i of candidates) {
      const match = this.#strict[i]!.exec(name)
      if (match) {
        const captures = match.slice(1)
        return { row: this.rows[i]!, names: this.rows[i]!.hf.map((p) => resolve(p, captures)), captures }
      }
    }
    return undefined
  }

  /** What a parameter is made of; undefined if no row names it. */
  relate(parameter: Parameter): (Relation & { readonly match: Match }) | undefined {
    const match = this.lookup(parameter.name)
    return match && { ...match.row.kind.relate(parameter, match.names, match.captures), match }
  }

  /** Rows that would claim an HF tensor of this name, whether or not the model has their parameter. */
  claimants(hfName: string): ReadonlyArray<Row> {
    return this.rows.filter((row) => row.hf.some((pattern) => compile(pattern).test(hfName)))
  }

  /** Keep the rows below `prefix` and put `instead` in its place in their Megatron names; HF names stay (a route-local registry). */
  strip(prefix: string, instead = ""): MappingRegistry {
    return new MappingRegistry(
      this.rows.filter((r) => r.megatron.startsWith(prefix)).map((r) => ({ ...r, megatron: instead + r.megatron.slice(prefix.length) }))
    )
  }

  describe(): ReadonlyArray<string> {
    return this.rows.map((r) => `${quote(r.megatron)} ⇐ ${r.hf.map(quote).join(", ")} [${r.kind.name}]`)
  }
}

/** A table of rows below two prefixes, in order: `{ "mlp.linear_fc2.weight": "mlp.down_proj.weight", … }`. */
export type Table = Readonly<Record<string, string | RowSource>>

export const rows = (megatron: string, hf: string, table: Table): Array<Row> =>
  Object.entries(table).map(([name, source]) => {
    const { hf: names, kind } = typeof source === "string" ? { hf: [source], kind: direct } : source
    return { megatron: megatron + name, hf: names.map((n) => hf + n), kind }
  })
