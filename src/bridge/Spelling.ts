/**
 * Other names for the tensors of one model. A library that renames a model's modules may write checkpoints under its own names;
 * the family's tables keep the published ones, and a spelling translates between the two.
 */
import type { Spelling } from "./Mapping.ts"

/**
 * A part of a published name and what another writer has in its place, `*` for digits, as many in both. A part that begins with
 * `^` stands at the start of a name, any other anywhere; write parts with the dots around them.
 *
 * @example [".block_sparse_moe.", ".mlp."]
 */
export type Renaming = readonly [published: string, other: string]

interface SpellingRule {
  readonly published: RegExp
  readonly other: RegExp
  readonly toPublished: (name: string) => string
  readonly toStored: (name: string) => string
}

/** Also finds the part in the pattern of a row, where digits are still `*`. */
const partOf = (part: string): RegExp => new RegExp(part.replace(/[.+?${}()|[\]\\]/g, "\\$&").replaceAll("*", "(\\d+|\\*)"))

const replacing = (from: RegExp, to: string) => {
  const text = to.replace(/^\^/, "")
  return (name: string): string =>
    name.replace(from, (_, ...captures: ReadonlyArray<unknown>) => {
      let next = 0
      return text.replaceAll("*", () => String(captures[next++]))
    })
}

const compiled = ([published, other]: Renaming): SpellingRule => {
  const [own, theirs] = [partOf(published), partOf(other)]
  return { published: own, other: theirs, toPublished: replacing(theirs, published), toStored: replacing(own, other) }
}

/**
 * The spelling of a checkpoint: the renamings, in order, whose other part stands in it while the published one does not.
 * Undefined if it has the published names.
 */
export const spellingOf = (names: ReadonlyArray<string>, renamings: ReadonlyArray<Renaming>): Spelling | undefined => {
  const used: Array<SpellingRule> = []
  let current = names
  for (const rule of renamings.map(compiled)) {
    const { other, published, toPublished } = rule
    if (!current.some((name) => other.test(name)) || current.some((name) => published.test(name) && !other.test(name))) continue
    used.push(rule)
    current = current.map(toPublished)
  }
  if (used.length === 0) return undefined
  return {
    published: (name) => used.reduce((n, { toPublished }) => toPublished(n), name),
    stored: (name) => used.reduceRight((n, { toStored }) => toStored(n), name)
  }
}
