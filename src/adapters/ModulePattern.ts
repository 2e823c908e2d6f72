/**
 * The regular expressions of `rank_pattern` and `alpha_pattern`, which come from a stranger: read here, and matched by following all places
 * where a match can be at once, in a time of at most the pattern's length times the path's. What this grammar lacks (repeated groups, look-around,
 * back references, flags) is said, for a pattern that is not understood would give a wrong scale in silence. Pure.
 */
import { FormatError } from "../errors.ts"

/** From places in a text to the places behind a match. */
type Matcher = (text: string, places: ReadonlySet<number>) => ReadonlySet<number>

const LONGEST_PATTERN = 1000
const DEEPEST = 50
const MOST_REPEATS = 100

type IsIn = (character: string) => boolean

const CLASSES: Readonly<Record<string, IsIn>> = {
  d: (c) => /^[0-9]$/.test(c),
  D: (c) => !/^[0-9]$/.test(c),
  w: (c) => /^\w$/.test(c),
  W: (c) => !/^\w$/.test(c),
  s: (c) => /^\s$/.test(c),
  S: (c) => !/^\s$/.test(c)
}

const one = (isIn: IsIn): Matcher => (text, places) => {
  const found = new Set<number>()
  for (const at of places) if (at < text.length && isIn(text[at]!)) found.add(at + 1)
  return found
}

const sequence = (parts: ReadonlyArray<Matcher>): Matcher => (text, places) => parts.reduce((now, part) => (now.size === 0 ? now : part(text, now)), places)

const either = (parts: ReadonlyArray<Matcher>): Matcher => (text, places) => new Set(parts.flatMap((part) => [...part(text, places)]))

const at = (isThere: (place: number, length: number) => boolean): Matcher => (text, places) => new Set([...places].filter((place) => isThere(place, text.length)))

const repeated = (part: Matcher, least: number, most: number): Matcher => (text, places) => {
  let now = places
  for (let i = 0; i < least; i++) now = part(text, now)
  const all = new Set(now)
  for (let i = least; i < most && now.size > 0; i++) {
    now = new Set([...part(text, now)].filter((place) => !all.has(place)))
    for (const place of now) all.add(place)
  }
  return all
}

class Parser {
  readonly #pattern: string
  #at = 0
  #depth = 0

  constructor(pattern: string) {
    this.#pattern = pattern
    if (pattern.length > LONGEST_PATTERN) this.#refuse(`is longer than ${LONGEST_PATTERN} characters`)
  }

  #refuse(problem: string): never {
    throw new FormatError("adapter/pattern", `the pattern ${this.#pattern.slice(0, 100)} ${problem}`)
  }

  whole(): Matcher {
    const matcher = this.#alternatives()
    if (this.#at < this.#pattern.length) this.#refuse("has a ) without (")
    return matcher
  }

  #takes(text: string): boolean {
    if (!this.#pattern.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  #next(): string {
    return this.#pattern[this.#at++] ?? this.#refuse("ends too early")
  }

  #alternatives(): Matcher {
    const parts: Array<Matcher> = []
    do {
      const own: Array<Matcher> = []
      while (this.#at < this.#pattern.length && !"|)".includes(this.#pattern[this.#at]!)) own.push(this.#quantified())
      parts.push(sequence(own))
    } while (this.#takes("|"))
    return parts.length === 1 ? parts[0]! : either(parts)
  }

  #quantified(): Matcher {
    const isGroup = this.#pattern[this.#at] === "("
    const part = this.#atom()
    const bounds = this.#bounds()
    if (!bounds) return part
    if (isGroup && bounds[1] > 1) this.#refuse("repeats a group, which is not understood here")
    // Whether it takes much or little first is no matter for what matches as a whole.
    this.#takes("?")
    return repeated(part, bounds[0], bounds[1])
  }

  #bounds(): readonly [number, number] | undefined {
    if (this.#takes("*")) return [0, Infinity]
    if (this.#takes("+")) return [1, Infinity]
    if (this.#takes("?")) return [0, 1]
    const braces = /^\{(\d{0,3})(,?)(\d{0,3})\}/.exec(this.#pattern.slice(this.#at))
    if (!braces) return undefined
    this.#at += braces[0].length
    const least = Number(braces[1])
    const most = braces[3] !== "" ? Number(braces[3]) : braces[2] === "" ? least : Infinity
    if (Math.max(least, most === Infinity ? 0 : most) > MOST_REPEATS) this.#refuse(`repeats more than ${MOST_REPEATS} times`)
    return [least, most]
  }

  #atom(): Matcher {
    const c = this.#next()
    if (c === "(") return this.#group()
    if (c === "[") return one(this.#class())
    if (c === "^") return at((place) => place === 0)
    if (c === "$") return at((place, length) => place === length)
    if (c === ".") return one(() => true)
    if ("*+?".includes(c)) this.#refuse(`repeats nothing (${c})`)
    return one(c === "\\" ? this.#escape() : (own) => own === c)
  }

  #group(): Matcher {
    if (this.#takes("?") && !this.#takes(":")) this.#refuse("has a group that is not understood here: (?…)")
    if (++this.#depth > DEEPEST) this.#refuse(`is nested deeper than ${DEEPEST}`)
    const inner = this.#alternatives()
    if (!this.#takes(")")) this.#refuse("has a ( without )")
    this.#depth--
    return inner
  }

  #escape(): IsIn {
    const c = this.#next()
    const known = CLASSES[c]
    if (known) return known
    if (/[0-9A-Za-z]/.test(c)) this.#refuse(`has an escape that is not understood here: \\${c}`)
    return (own) => own === c
  }

  #class(): IsIn {
    const isNegated = this.#takes("^")
    const parts: Array<IsIn> = []
    do {
      const c = this.#next()
      if (c === "\\") parts.push(this.#escape())
      else if (this.#pattern[this.#at] === "-" && this.#pattern[this.#at + 1] !== "]") {
        this.#at++
        const last = this.#next()
        parts.push((own) => own >= c && own <= last)
      } else parts.push((own) => own === c)
    } while (!this.#takes("]"))
    return (own) => parts.some((part) => part(own)) !== isNegated
  }
}

/** Whether a path is what the pattern describes, or ends with it behind a dot, as `peft` matches. FormatError `adapter/pattern` for what is not understood. */
export const modulePattern = (pattern: string): (path: string) => boolean => {
  // Most are names: a dot in them is one.
  if (/^[\w.-]+$/.test(pattern)) return (path) => path === pattern || path.endsWith(`.${pattern}`)
  const matcher = new Parser(pattern).whole()
  return (path) => {
    const starts = [0, ...[...path.matchAll(/\./g)].map(({ index }) => index + 1)]
    // `^` of the pattern is the start of the path.
    return matcher(path, new Set(starts)).has(path.length)
  }
}
