/** Filters by name: `*` is anything, `?` one character, `{a,b}` either. A pattern without them must be part of the name. */
import { matchesStars } from "../plan/match.ts"
import { UsageError } from "../errors.ts"

const LONGEST = 512
/** `{a,b}{c,d}…` multiplies. */
const MOST_BRANCHES = 256

const expand = (pattern: string): ReadonlyArray<string> => {
  let out = [""]
  for (const part of pattern.split(/(\{[^{}]*\})/)) {
    const choices = part.startsWith("{") && part.endsWith("}") ? part.slice(1, -1).split(",") : [part]
    out = out.flatMap((before) => choices.map((choice) => before + choice))
    if (out.length > MOST_BRANCHES) throw new UsageError({ problem: `--filter: ${pattern} stands for more than ${MOST_BRANCHES} patterns` })
  }
  return out
}

/** A test of names from patterns of which one must match; no patterns: every name passes. */
export const globs = (patterns: ReadonlyArray<string>): ((name: string) => boolean) => {
  if (patterns.length === 0) return () => true
  const expanded = patterns.flatMap((pattern) => {
    if (pattern.length > LONGEST) throw new UsageError({ problem: `--filter: a pattern of ${pattern.length} characters is too long` })
    return expand(pattern).map((branch) => (/[*?]/.test(branch) ? branch : `*${branch}*`))
  })
  return (name) => expanded.some((pattern) => matchesStars(pattern, name, "?"))
}
