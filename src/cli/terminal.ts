/**
 * The border of output: everything that the streams take goes through {@link safe}, and nothing passes but text, line ends and the styles
 * that were put on by {@link styled}. What a file says can therefore never move a cursor, change a title or hide a line.
 */
import { randomInt } from "node:crypto"
import { styleText } from "node:util"
import { escaped } from "../quote.ts"

/** First parameter of our own style sequences: nobody else can know it. */
const MARK = String(randomInt(1e9, 1e12))

/** Text in a style, if the terminal has styles; only {@link safe} makes it visible. */
export const styled = (style: "bold" | "dim" | "green" | "red") => (text: string): string => {
  const [open, close] = styleText(style, "\n", { stream: process.stdout }).split("\n") as [string, string]
  return open === "" ? text : `${marked(open)}${text}${marked(close)}`
}

const marked = (sequence: string): string => sequence.replaceAll("\u001b[", `\u001b[${MARK};`)

// eslint-disable-next-line no-control-regex
const OURS = new RegExp(`(\\n|\\u001b\\[${MARK};\\d+m)`)

/** The text as it may be printed. */
export const safe = (text: string): string =>
  text.split(OURS).map((part, i) => (i % 2 === 0 ? escaped(part) : part.replace(`${MARK};`, ""))).join("")
