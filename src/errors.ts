/**
 * Every way a run can fail that a user can do something about. One class per kind of remedy; the class decides the exit
 * code and the one message the CLI prints. Codecs (which know bytes, not paths) throw {@link FormatError}; the thin layer
 * that knows the path turns it into {@link InvalidFile}.
 *
 * Exit codes: 0 ok, 1 verify found differences, 2 usage, 3 bad input, 4 unsupported, 5 output exists or is locked,
 * 6 no space, 7 I/O error, 8 the processes of a job could not meet or lost each other, 9 another process of the job failed,
 * 129 (SIGHUP), 130 (SIGINT) or 143 (SIGTERM) interrupted. A scheduler may start 6, 7 and 8 again; 9 follows the one that failed.
 */
import { Data, Runtime } from "effect"
import type { FormatError, Place } from "./FormatError.ts"
import { escaped, quote, quotePath, some } from "./quote.ts"

export { FormatError, type Place } from "./FormatError.ts"
export { quote, quotePath, some } from "./quote.ts"

/** Exit codes of the command line; every error has one of them. */
export const ExitCode = { ok: 0, different: 1, usage: 2, input: 3, unsupported: 4, output: 5, space: 6, io: 7, cluster: 8, peer: 9 } as const

const at = ({ field, offset, record, tensor }: Place): string =>
  [
    tensor !== undefined && `tensor ${quote(tensor)}`,
    field !== undefined && `field ${quote(field)}`,
    record !== undefined && `record ${quote(record)}`,
    offset !== undefined && `byte ${offset}`
  ].filter(Boolean).join(", ")

/**
 * What every error here has: a stable `code`, an exit code, what happened (`summary`) and, where there is something to be done, a
 * `hint`. `message` is all of it, as the command line prints it.
 */
export abstract class Failure extends Data.Error<{ readonly code: string; readonly hint?: string }> {
  readonly exitCode: number = ExitCode.input
  /** What happened and where, without what to do about it. */
  get summary(): string { return "" }
  override get message(): string { return this.hint === undefined ? this.summary : `${this.summary}\n  ${this.hint}` }
  override get [Runtime.errorExitCode](): number { return this.exitCode }
}

/** A class of errors with a tag, an exit code and fields of its own; `usual`: the code of one that is not given any. */
const failure = <const Tag extends string>(tag: Tag, exitCode: number, usual?: { readonly code: string } | ((fields: never) => string)) => {
  class Tagged extends Failure {
    readonly _tag = tag
    override readonly exitCode = exitCode
    constructor(fields: { readonly code?: string }) {
      super({ ...fields, code: fields.code ?? (typeof usual === "function" ? usual(fields as never) : usual!.code) })
    }
  }
  Object.defineProperty(Tagged.prototype, "name", { value: tag })
  return Tagged as unknown as new<Fields extends { readonly [key: string]: unknown }>(fields: Fields) =>
    & Failure & { readonly _tag: Tag } & Readonly<Omit<Fields, "code">>
}

/** A file that is not what its format demands. Exit code 3. */
export class InvalidFile extends failure("InvalidFile", ExitCode.input)<{
  readonly path: string
  readonly code: string
  readonly problem: string
  readonly place?: Place
  readonly hint?: string
}> {
  override get summary() {
    const where = at(this.place ?? {})
    return `${quotePath(this.path)}${where && ` (${where})`}: ${this.problem}`
  }
}

/** The input is sound but asks for something that does not exist here (architecture, format, option). Exit code 4. */
export class Unsupported extends failure("Unsupported", ExitCode.unsupported, { code: "unsupported/other" })<{
  readonly code?: string
  readonly what: string
  readonly problem: string
  readonly place?: Place
  readonly hint?: string
}> {
  override get summary() {
    const where = at(this.place ?? {})
    return `${quotePath(this.what)}${where && ` (${where})`}: ${escaped(this.problem)}`
  }
}

/** The plan does not account for every byte, or the config contradicts the tensors. Nothing has been written. Exit code 3. */
export class PlanRefused extends failure("PlanRefused", ExitCode.input)<{
  readonly code: string
  readonly problem: string
  /** Offending names, complete; the message shows the first ten. */
  readonly names?: ReadonlyArray<string>
  readonly hint?: string
}> {
  override get summary() {
    const list = this.names && this.names.length > 0 ? `: ${some(this.names)}` : ""
    return `${escaped(this.problem)}${list}`
  }
}

/** A flag, or a combination of flags, that makes no sense. Exit code 2. */
export class UsageError extends failure("UsageError", ExitCode.usage, { code: "usage/flags" })<{ readonly code?: string; readonly problem: string; readonly hint?: string }> {
  override get summary() { return this.problem }
}

/** The target exists, or another process holds it. Exit code 5. */
export class OutputRefused extends failure("OutputRefused", ExitCode.output)<{
  readonly path: string
  readonly code: string
  readonly problem: string
  readonly hint?: string
}> {
  override get summary() { return `${quotePath(this.path)}: ${this.problem}` }
}

/** Not enough room on the target's file system. Exit code 6. */
export class NoSpace extends failure("NoSpace", ExitCode.space, { code: "space/full" })<{
  readonly path: string
  /** Bytes; 0 if the file system did not say how many it lacks. */
  readonly needed: number
  readonly free?: number
  readonly hint?: string
}> {
  override get summary() {
    const lack = this.free === undefined ? "the file system (or the quota) is full" : `${this.needed} bytes are needed, ${this.free} are free`
    return `${quotePath(this.path)}: ${lack}`
  }
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

/** The operating system or a server refused a call. Exit code 7 (`errno` is e.g. `EIO`). */
export class IoError extends failure("IoError", ExitCode.io, ({ errno }: { readonly errno: string }) => `io/${errno}`)<{
  readonly code?: string
  readonly path: string
  readonly operation: string
  readonly errno: string
  readonly detail?: string
  readonly hint?: string
}> {
  override get summary() {
    const call = `${this.operation} failed with ${this.errno}`
    const words = WORDS[this.errno]
    // What has a code of its own says itself what it is.
    if (this.detail !== undefined && !this.code.startsWith("io/")) return `${quotePath(this.path)}: ${escaped(this.detail)}`
    const problem = words !== undefined ? `${words} (${call})` : `${call}${this.detail ? ` (${plain(this.detail)})` : ""}`
    return `${quotePath(this.path)}: ${problem}`
  }
}

/** What the launcher, the flags and the other processes say of a job does not fit together. Exit code 2. */
export class LaunchError extends failure("LaunchError", ExitCode.usage)<{
  readonly code: string
  readonly problem: string
  readonly hint?: string
}> {
  override get summary() { return escaped(this.problem) }
}

/** The processes of a job did not find each other in time, or lost each other. Exit code 8. */
export class ClusterError extends failure("ClusterError", ExitCode.cluster)<{
  readonly code: string
  readonly problem: string
  readonly hint?: string
}> {
  override get summary() { return escaped(this.problem) }
}

/** What is asked of a weight stream cannot be given: an unknown component, a shard that is none, another token, other weights than before. Exit code 2. */
export class StreamRefused extends failure("StreamRefused", ExitCode.usage)<{
  readonly code: string
  readonly problem: string
  readonly hint?: string
}> {
  override get summary() { return escaped(this.problem) }
}

/** A weight stream broke off, or nobody answers at its address. Exit code 8. */
export class StreamBroken extends failure("StreamBroken", ExitCode.cluster)<{
  readonly code: string
  readonly problem: string
  readonly hint?: string
}> {
  override get summary() { return escaped(this.problem) }
}

/** Another process of the job failed first; this one stopped for it. Exit code 9. */
export class PeerFailed extends failure("PeerFailed", ExitCode.peer, { code: "peer/failed" })<{
  readonly code?: string
  readonly rank: number
  readonly host: string
  /** The error code there. */
  readonly rootCode: string
  /** What happened there: the summary of its error. */
  readonly problem: string
  /** The exit code there. */
  readonly rootExitCode: number
  readonly file?: string
  readonly tensor?: string
  readonly hint?: string
}> {
  override get summary() {
    const where = [
      // What happened there mostly says it itself.
      this.file !== undefined && !this.problem.includes(this.file) && `file ${quotePath(this.file)}`,
      this.tensor !== undefined && !this.problem.includes(this.tensor) && `tensor ${quote(this.tensor)}`
    ].filter(Boolean).join(", ")
    return `rank ${this.rank} on host ${quote(this.host)} failed${where && ` (${where})`}: ${escaped(this.problem)}`
  }
}

/** Attach a path to what a codec found. */
export const invalidFile = (path: string, error: FormatError, hint?: string): InvalidFile =>
  new InvalidFile({ path, code: error.code, problem: error.message, place: error.place, ...(hint ? { hint } : {}) })

/** Reading what is there: it is not what it should be, is not known here, was left half replaced, or the system refuses. */
export type ReadError = InvalidFile | Unsupported | OutputRefused | NoSpace | IoError

/** What follows from a config, headers and options is refused. */
export type PlanError = InvalidFile | Unsupported | PlanRefused | UsageError

/** What work that no other process shares can fail with. */
export type ConversionError = ReadError | PlanError

/** What work that several processes may share can fail with: also what they do to each other. */
export type JobError = ConversionError | LaunchError | ClusterError | PeerFailed

/** What the two ends of a stream of weights do to each other. */
export type StreamError = StreamRefused | StreamBroken

/** Everything that this package fails with. */
export type BridgeError = JobError | StreamError

/** An error of this package's own: typed, with a code, and with what to do. */
export const isBridgeError = (error: unknown): error is BridgeError => error instanceof Failure
