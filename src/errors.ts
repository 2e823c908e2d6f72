/**
 * Every way a run can fail that a user can do something about. One class per kind of remedy; the class decides the exit
 * code and the one message the CLI prints. Codecs (which know bytes, not paths) throw {@link FormatError}; the thin layer
 * that knows the path turns it into {@link InvalidFile}.
 *
 * Exit codes: 0 ok, 1 verify found differences, 2 usage, 3 bad input, 4 unsupported, 5 output exists or is locked,
 * 6 no space, 7 I/O error, 129 (SIGHUP), 130 (SIGINT) or 143 (SIGTERM) interrupted.
 */
import { Data, Runtime } from "effect"
import { escaped, quote, quotePath, some } from "./quote.ts"

export { quote, quotePath, some } from "./quote.ts"

export const ExitCode = { ok: 0, different: 1, usage: 2, input: 3, unsupported: 4, output: 5, space: 6, io: 7 } as const

/** Where in a document something is wrong. All parts optional: a codec gives what it knows. */
export interface Place {
  readonly tensor?: string | undefined
  /** Field path inside a JSON or YAML document, e.g. `vision_config.depth`. */
  readonly field?: string | undefined
  /** Byte offset from the start of the file (or of the record, if `record` is given). */
  readonly offset?: number | undefined
  readonly record?: string | undefined
}

/** Thrown by pure codecs: what is wrong and where, without a path. */
export class FormatError extends Error {
  override readonly name = "FormatError"
  /** Stable identifier, e.g. `safetensors/header-too-large`; the error catalogue lists them. */
  readonly code: string
  readonly place: Place
  constructor(code: string, problem: string, place: Place = {}) {
    // One line: what it quotes of a file may hold anything.
    super(escaped(problem))
    this.code = code
    this.place = place
  }
}

const at = ({ field, offset, record, tensor }: Place): string =>
  [
    tensor !== undefined && `tensor ${quote(tensor)}`,
    field !== undefined && `field ${quote(field)}`,
    record !== undefined && `record ${quote(record)}`,
    offset !== undefined && `byte ${offset}`
  ].filter(Boolean).join(", ")

/** A file that is not what its format demands. Exit code 3. */
export class InvalidFile extends Data.TaggedError("InvalidFile")<{
  readonly path: string
  readonly code: string
  readonly problem: string
  readonly place?: Place
  readonly hint?: string
}> {
  readonly exitCode: number = ExitCode.input
  override get message() {
    const where = at(this.place ?? {})
    return `${quotePath(this.path)}${where && ` (${where})`}: ${this.problem}${this.hint ? `\n  ${this.hint}` : ""}`
  }
  override readonly [Runtime.errorExitCode] = ExitCode.input
}

/** The input is sound but asks for something that does not exist here (architecture, format, option). Exit code 4. */
export class Unsupported extends Data.TaggedError("Unsupported")<{
  readonly what: string
  readonly problem: string
  readonly place?: Place
  readonly hint?: string
}> {
  readonly exitCode: number = ExitCode.unsupported
  override get message() {
    const where = at(this.place ?? {})
    return `${quotePath(this.what)}${where && ` (${where})`}: ${escaped(this.problem)}${this.hint ? `\n  ${this.hint}` : ""}`
  }
  override readonly [Runtime.errorExitCode] = ExitCode.unsupported
}

/** The plan does not account for every byte, or the config contradicts the tensors. Nothing has been written. Exit code 3. */
export class PlanRefused extends Data.TaggedError("PlanRefused")<{
  readonly code: string
  readonly problem: string
  /** Offending names, complete; the message shows the first ten. */
  readonly names?: ReadonlyArray<string>
  readonly hint?: string
}> {
  readonly exitCode: number = ExitCode.input
  override get message() {
    const list = this.names && this.names.length > 0 ? `: ${some(this.names)}` : ""
    return `${escaped(this.problem)}${list}${this.hint ? `\n  ${this.hint}` : ""}`
  }
  override readonly [Runtime.errorExitCode] = ExitCode.input
}

/** A flag, or a combination of flags, that makes no sense. Exit code 2. */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly problem: string; readonly hint?: string }> {
  readonly exitCode: number = ExitCode.usage
  override get message() { return `${this.problem}${this.hint ? `\n  ${this.hint}` : ""}` }
  override readonly [Runtime.errorExitCode] = ExitCode.usage
}

/** The target exists, or another process holds it. Exit code 5. */
export class OutputRefused extends Data.TaggedError("OutputRefused")<{
  readonly path: string
  readonly code: string
  readonly problem: string
  readonly hint?: string
}> {
  readonly exitCode: number = ExitCode.output
  override get message() { return `${quotePath(this.path)}: ${this.problem}${this.hint ? `\n  ${this.hint}` : ""}` }
  override readonly [Runtime.errorExitCode] = ExitCode.output
}

/** Not enough room on the target's file system. Exit code 6. */
export class NoSpace extends Data.TaggedError("NoSpace")<{
  readonly path: string
  /** Bytes; 0 if the file system did not say how many it lacks. */
  readonly needed: number
  readonly free?: number
  readonly hint?: string
}> {
  readonly exitCode: number = ExitCode.space
  override get message() {
    const lack = this.free === undefined ? "the file system (or the quota) is full" : `${this.needed} bytes are needed, ${this.free} are free`
    return `${quotePath(this.path)}: ${lack}${this.hint ? `\n  ${this.hint}` : ""}`
  }
  override readonly [Runtime.errorExitCode] = ExitCode.space
}

/** What users know these by. */
const WORDS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EBADF: "is closed",
  EBUSY: "is in use",
  EEXIST: "exists already",
  EISDIR: "is a directory",
  ELOOP: "is a link that leads back to itself",
  EMFILE: "too many files are open (`ulimit -n`)",
  ENAMETOOLONG: "the name is longer than names can be",
  ENOENT: "does not exist",
  ENOTDIR: "what it should be in is not a directory",
  EPERM: "not permitted",
  EROFS: "the file system is read-only",
  ESTALE: "was removed or replaced on the server (a stale handle)"
}

/** `EIO: i/o error, read` without what the message says anyway. */
const plain = (detail: string): string => detail.replace(/^E[A-Z0-9]+: /, "").replace(/, [a-z]+( '.*)?$/, "")

/** The operating system refused a call. Exit code 7 (`errno` is e.g. `EIO`). */
export class IoError extends Data.TaggedError("IoError")<{
  readonly path: string
  readonly operation: string
  readonly errno: string
  readonly detail?: string
  readonly hint?: string
}> {
  readonly exitCode: number = ExitCode.io
  override get message() {
    const call = `${this.operation} failed with ${this.errno}`
    const words = WORDS[this.errno]
    const problem = words !== undefined ? `${words} (${call})` : `${call}${this.detail ? ` (${plain(this.detail)})` : ""}`
    return `${quotePath(this.path)}: ${problem}${this.hint ? `\n  ${this.hint}` : ""}`
  }
  override readonly [Runtime.errorExitCode] = ExitCode.io
}

/** The message without its hint, for whoever shows the two apart. */
export const withoutHint = (error: BridgeError): string =>
  error.hint === undefined ? error.message : error.message.slice(0, error.message.length - error.hint.length - "\n  ".length)

/** Attach a path to what a codec found. */
export const invalidFile = (path: string, error: FormatError, hint?: string): InvalidFile =>
  new InvalidFile({ path, code: error.code, problem: error.message, place: error.place, ...(hint ? { hint } : {}) })

export type BridgeError =
  | InvalidFile
  | Unsupported
  | PlanRefused
  | UsageError
  | OutputRefused
  | NoSpace
  | IoError

export const isBridgeError = (error: unknown): error is BridgeError =>
  error instanceof InvalidFile || error instanceof Unsupported || error instanceof PlanRefused || error instanceof UsageError ||
  error instanceof OutputRefused || error instanceof NoSpace || error instanceof IoError
