/** The command lines of a document, in the order in which a reader meets them. */

export interface Line {
  /** Line of the document where it begins. */
  readonly at: number
  /** As printed, continuations joined. */
  readonly text: string
  /** What the document prints below it; undefined: nothing is promised. */
  readonly output?: string
  /** Stands in a comment of the document: prepares what a reader would have. */
  readonly hidden: boolean
}

export interface Block {
  readonly at: number
  readonly info: string
  readonly lines: ReadonlyArray<string>
}

/** Fenced blocks, and comments that begin with `<!-- run`. */
export const blocksOf = (markdown: string): ReadonlyArray<Block> => {
  const blocks: Array<{ at: number; info: string; lines: Array<string> }> = []
  let open: { at: number; info: string; lines: Array<string>; end: RegExp } | undefined
  for (const [i, line] of markdown.split("\n").entries()) {
    if (open) {
      if (open.end.test(line)) {
        blocks.push(open)
        open = undefined
      } else open.lines.push(line)
      continue
    }
    const fence = /^(```+)(.*)$/.exec(line)
    if (fence) open = { at: i + 2, info: fence[2]!.trim(), lines: [], end: new RegExp(`^${fence[1]}\\s*$`) }
    else if (line === "<!-- run") open = { at: i + 2, info: "hidden", lines: [], end: /^-->$/ }
  }
  return blocks
}

/** Commands of a shell block, continuations joined; comments and empty lines are none. */
const commandsIn = ({ at, info, lines }: Block): ReadonlyArray<Line> => {
  const out: Array<Line> = []
  let begun: { at: number; text: string } | undefined
  for (const [i, line] of lines.entries()) {
    begun ??= { at: at + i, text: "" }
    if (line.endsWith("\\")) {
      begun.text += line.slice(0, -1)
      continue
    }
    begun.text += line
    if (begun.text.trim() !== "" && !begun.text.trim().startsWith("#")) out.push({ ...begun, hidden: info === "hidden" })
    begun = undefined
  }
  return out
}

/** Of a block of text: the lines behind `$ `, each with the output that follows. */
const promptsIn = ({ at, lines }: Block): ReadonlyArray<Line> => {
  const starts = lines.flatMap((line, i) => (line.startsWith("$ ") ? [i] : []))
  return starts.map((start, k) => {
    let end = start
    while (lines[end]!.endsWith("\\")) end++
    const text = lines.slice(start, end + 1).map((line, i) => (i === 0 ? line.slice(2) : line).replace(/\\$/, "")).join("")
    return { at: at + start, text, output: lines.slice(end + 1, starts[k + 1] ?? lines.length).join("\n").trimEnd(), hidden: false }
  })
}

/** `sh`: every line is run. `text`: lines behind `$ ` are, and print what follows. `sh elsewhere …` and `bash`: not here. */
export const linesOf = (markdown: string): ReadonlyArray<Line> =>
  blocksOf(markdown).flatMap((block) => (block.info === "sh" || block.info === "hidden" ? commandsIn(block) : block.info === "text" ? promptsIn(block) : []))

/** The words of a line without anything that only a shell understands; undefined: it needs a shell. */
export const wordsOf = (text: string): ReadonlyArray<string> | undefined => {
  const words: Array<string> = []
  let word: string | undefined
  for (let i = 0; i < text.length;) {
    const c = text[i]!
    if (c === "#" && word === undefined) break
    if (/[|&;<>$`()*?~]/.test(c)) return undefined
    if (c === "'" || c === '"') {
      const end = text.indexOf(c, i + 1)
      const inner = end < 0 ? undefined : text.slice(i + 1, end)
      if (inner === undefined || (c === '"' && /[$`\\]/.test(inner))) return undefined
      word = (word ?? "") + inner
      i = end + 1
    } else {
      if (/\s/.test(c)) {
        if (word !== undefined) words.push(word)
        word = undefined
      } else word = (word ?? "") + c
      i++
    }
  }
  return word === undefined ? words : [...words, word]
}

/** What is printed, where a line that is `…` alone stands for any lines. */
export const printsAs = (expected: string): RegExp =>
  new RegExp(`^${expected.split("\n").map((line) => (line.trim() === "…" ? "(?:.*\n)*?" : `${line.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")}[ \\t]*\n`)).join("")}$`)
