/** Commands that mend something, ready to be pasted into a shell. */
import { basename, dirname, join, resolve } from "node:path"
import { iterationOf } from "./names.ts"

const PLAIN = /^[\w@%+=:,./-]+$/
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/

const word = (text: string): string => (PLAIN.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)

/**
 * The words of a command, quoted where a shell needs it. Undefined if one of them could write to a terminal what it does not show:
 * such a command is not offered.
 */
export const shell = (...words: ReadonlyArray<string>): string | undefined =>
  words.some((text) => CONTROL.test(text)) ? undefined : words.map(word).join(" ")

/** Write `text` to a file. */
export const shellWrite = (text: string, path: string): string | undefined => {
  const [print, to] = [shell("printf", "%s", text), shell(path)]
  return print === undefined || to === undefined ? undefined : `${print} > ${to}`
}

/** Relabel a checkpoint folder to a place beside it. */
export const shellRelabel = (directory: string, naming: string): string | undefined => {
  const parent = iterationOf(basename(directory)) === undefined ? directory : dirname(directory)
  const whole = basename(parent) === "." || basename(parent) === ".." || parent === "" ? resolve(parent) : parent
  return shell("convert_megatron_mimo", "relabel", directory, join(dirname(whole), `${basename(whole)}-mended`), "--to", naming, "--link")
}
