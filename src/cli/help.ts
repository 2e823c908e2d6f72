/**
 * How help looks: wrapped to the terminal (80 columns where there is none), one short column of flags, choices shown where the
 * value goes, the flags that every command has on two lines, examples that can be pasted.
 */
import { Option } from "effect"
import { CliOutput, type HelpDoc } from "effect/cli"
import { styleText } from "node:util"

const DEFAULT_WIDTH = 80
/** Longer lines are tiring to read, however wide the terminal is. */
const WIDEST = 100
const NARROWEST = 40
/** Narrower, there is no room for two columns. */
const TWO_COLUMNS = 60
/** Flags with longer labels get a line of their own. */
const LABEL_WIDTH = 24
/** Choices that take more room are listed in the text. */
const CHOICES_WIDTH = 40
const INDENT = 2

const widthOf = (): number =>
  Math.max(NARROWEST, Math.min(WIDEST, process.stdout.columns ?? (Number(process.env["COLUMNS"]) || DEFAULT_WIDTH)))

/** Words, and of words longer than a line the parts between commas. */
const wordsOf = (text: string, width: number): ReadonlyArray<{ readonly word: string; readonly space: string }> =>
  text.split(/\s+/).filter((w) => w !== "").flatMap((word) =>
    (word.length <= width ? [word] : word.split(/(?<=,)/)).map((part, i) => ({ word: part, space: i === 0 ? " " : "" })))

/** Break at spaces; words longer than a line are broken behind commas only. */
export const wrap = (text: string, width: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = ""
  for (const { space, word } of wordsOf(text, width)) {
    if (line !== "" && line.length + space.length + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === "" ? word : `${line}${space}${word}`
  }
  if (line !== "") lines.push(line)
  return lines
}

const block = (text: string, indent: number, width: number): string =>
  wrap(text, width - indent).map((line) => " ".repeat(indent) + line).join("\n")

interface HelpRow {
  readonly label: string
  readonly text: string
}

/** Two columns; a label that is too long stands alone above its text, on narrow terminals every one. */
const rows = (all: ReadonlyArray<HelpRow>, width: number, strong: (text: string) => string): string => {
  const fitting = all.map((r) => r.label.length).filter((n) => n <= LABEL_WIDTH)
  const column = width < TWO_COLUMNS ? 3 * INDENT : Math.max(8, ...fitting) + INDENT + 2
  return all.map(({ label, text }) => {
    const lines = wrap(text, width - column)
    const first = label.length + INDENT + 2 <= column
    const head = `${" ".repeat(INDENT)}${strong(label)}`
    const rest = (from: number) => lines.slice(from).map((line) => " ".repeat(column) + line)
    return first
      ? [`${head}${" ".repeat(column - INDENT - label.length)}${lines[0] ?? ""}`.trimEnd(), ...rest(1)].join("\n")
      : [head, ...rest(0)].join("\n")
  }).join("\n")
}

const CHOICES = /\s*\(choices: ([^()]*)\)\s*$/

const flagRow = (width: number) => ({ aliases, description, name, required, type }: HelpDoc.FlagDoc): HelpRow => {
  const said = Option.getOrElse(description, () => "")
  const text = said.replace(CHOICES, "")
  const choices = CHOICES.exec(said)?.[1]?.split(", ")
  const short = choices && choices.join("|").length <= Math.min(CHOICES_WIDTH, width - INDENT - name.length - 3)
  const value = type === "boolean" ? "" : ` ${short ? choices.join("|") : choices && type === "choice" ? "NAME" : type}`
  const listed = choices && !short ? `${text.endsWith(".") ? "" : "."} One of ${choices.join(", ")}` : ""
  const label = [...aliases, `--${name}`].join(", ") + value
  // The library also calls a flag required that may be given any number of times.
  const must = required && !/repeat/i.test(text)
  return { label, text: `${text}${listed}${must ? " (required)" : ""}` }
}

const argumentRow = ({ description, name, required, variadic }: HelpDoc.ArgDoc): HelpRow => ({
  label: `${name}${variadic ? "…" : ""}`,
  text: `${Option.getOrElse(description, () => "")}${required ? "" : " (optional)"}`
})

/** Every command has these; two lines are enough. */
const globalLine = (flags: ReadonlyArray<HelpDoc.FlagDoc>, width: number): string =>
  block(flags.map((flag) => {
    const type = flag.type === "boolean" ? "" : flag.name === "completions" ? " SHELL" : flag.name === "log-level" ? " LEVEL" : ` ${flag.type}`
    return `--${flag.name}${type}`
  }).join(", ").replaceAll(/(--[a-z-]+) ([A-Z]+)/g, "$1\u00a0$2"), INDENT, width).replaceAll("\u00a0", " ")

/** A command that is too long for a line, continued the way shells allow. */
const commandLines = (command: string, width: number): string => {
  const parts = command.split(/ (?=--|-[a-z] )/)
  const lines: Array<string> = []
  for (const part of parts) {
    const last = lines.at(-1)
    const indent = lines.length <= 1 ? INDENT : INDENT + 4
    if (last !== undefined && indent + last.length + 1 + part.length + 2 <= width) lines[lines.length - 1] = `${last} ${part}`
    else lines.push(part)
  }
  return lines.map((line, i) => `${" ".repeat(i === 0 ? INDENT : INDENT + 4)}${line}${i < lines.length - 1 ? " \\" : ""}`).join("\n")
}

/** The text of a help page at a width; `colour` marks titles and flags. */
export const formatHelp = (doc: HelpDoc.HelpDoc, width: number, colour: boolean): string => {
  const title = (text: string) => (colour ? styleText("bold", text, { validateStream: false }) : text)
  const strong = (text: string) => (colour ? styleText("cyan", text, { validateStream: false }) : text)
  const sections: Array<string> = []
  const add = (name: string, body: string) => sections.push(`${title(name)}\n${body}`)
  if (doc.description) sections.push(wrap(doc.description, width).join("\n"))
  add("USAGE", block(doc.usage, INDENT, width))
  if (doc.args && doc.args.length > 0) add("ARGUMENTS", rows(doc.args.map(argumentRow), width, strong))
  for (const { commands, group } of doc.subcommands ?? []) {
    add((group ?? "commands").toUpperCase(), rows(commands.map((c) => ({ label: c.name, text: c.shortDescription ?? c.description })), width, strong))
  }
  if (doc.flags.length > 0) add("FLAGS", rows(doc.flags.map(flagRow(width)), width, strong))
  if (doc.inheritedFlags && doc.inheritedFlags.length > 0) add("SHARED FLAGS", rows(doc.inheritedFlags.map(flagRow(width)), width, strong))
  if (doc.globalFlags && doc.globalFlags.length > 0) add("EVERY COMMAND", globalLine(doc.globalFlags, width))
  if (doc.examples && doc.examples.length > 0) {
    add("EXAMPLES", doc.examples.map(({ command, description }) =>
      `${description ? `${block(`# ${description}`, INDENT, width)}\n` : ""}${commandLines(command, width)}`).join("\n\n"))
  }
  return sections.join("\n\n")
}

const standard = CliOutput.defaultFormatter({ colors: false })

/** The formatter of the command line: help as above, errors as effect writes them, without colours in pipes. */
export const helpFormatter: CliOutput.Formatter = {
  ...standard,
  formatHelpDoc: (doc) => formatHelp(doc, widthOf(), process.stdout.isTTY === true && process.env["NO_COLOR"] === undefined)
}
