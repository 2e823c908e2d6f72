/** Words for a shell, for Python and for YAML. */
import { quote, UsageError } from "../errors.ts"
import type { Setting } from "./Setup.ts"

/** A word that a POSIX shell reads back as it is. */
export const word = (text: string): string => {
  // Control characters have no place in a script that people read.
  if ([...text].some((c) => c < " " || c === "\u007f")) throw new UsageError({ problem: `${quote(text)} has control characters` })
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

/** JSON strings are Python's and YAML's too. */
export const quoted = (text: string): string => JSON.stringify(text)

export const python = (value: Setting): string => value === null ? "None" : value === true ? "True" : value === false ? "False" : typeof value === "number" ? String(value) : quoted(value)

/** A file without blanks at line ends, with one newline at its end. */
export const lines = (...all: ReadonlyArray<string | false>): string => `${all.filter((line) => line !== false).join("\n").trimEnd()}\n`
