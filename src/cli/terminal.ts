/**
 * The border of output: everything that the streams take goes through {@link safe}, and nothing passes but text, line ends and the styles
 * that were put on by {@link styled}. What a file says can therefore never move a cursor, change a title or hide a line.
 */
import { styleText } from "node:util"
import { escaped } from "../quote.ts"

/** First parameter of our own style sequences: nobody else can know it. Made at the first style, as most output has none. */
let mark: string | undefined

/** Text in a style, if the terminal has styles; only {@link safe} makes it visible. */
export const styled = (style: "bold" | "dim" | "green" | "red") => (text: string): string => {
  const [open, close] = styleText(style, "\n", { stream: process.stdout }).split("\n") as [string, string]
  return open === "" ? text : `${marked(open)}${text}${marked(close)}`
}

const marked = (sequence: string): string => {
  mark ??= String(process.getBuiltinModule("node:crypto").randomInt(1e9, 1e12))
  return sequence.replaceAll("\u001b[", `\u001b[${mark};`)
}

/** Line ends, and our own styles. */
const ours = (): RegExp => (mark === undefined ? /(\n)/ : new RegExp(`(\\n|\\u001b\\[${mark};\\d+m)`))

/** The text as it may be printed. */
export const safe = (text: string): string =>
  text.split(ours()).map((part, i) => (i % 2 === 0 ? escaped(part) : part.replace(`${mark};`, ""))).join("")
