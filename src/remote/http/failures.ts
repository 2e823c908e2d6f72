/** What a call over a network fails with, and which of it is worth another try. */
import { IoError } from "../../errors.ts"
import type { HttpAnswer } from "./Answer.ts"

/** Something that may go well next time. */
export class Transient extends Error {
  readonly failure: IoError
  /** Milliseconds that the server wants to be left alone. */
  readonly after: number | undefined

  constructor(failure: IoError, after?: number) {
    super(failure.message)
    this.failure = failure
    this.after = after
  }
}

const TIMED_OUT = new Set(["UND_ERR_CONNECT_TIMEOUT", "UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT", "ETIMEDOUT"])
const LOST = new Set(["UND_ERR_SOCKET", "ECONNRESET", "EPIPE", "UND_ERR_RES_CONTENT_LENGTH_MISMATCH", "UND_ERR_ABORTED", "UND_ERR_DESTROYED"])
/** The network is not there, or not there now. */
const UNREACHABLE = new Set(["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH"])

/** The error and what caused it, at most a few. */
const causesOf = (error: unknown, most = 8): ReadonlyArray<{ readonly name?: unknown; readonly code?: unknown }> =>
  typeof error === "object" && error !== null && most > 0 ? [error, ...causesOf((error as { readonly cause?: unknown }).cause, most - 1)] : []

/**
 * What a failed call means; a defect of ours stays what it is. `reached`: some server has answered before, so that one which cannot be
 * reached may come back.
 */
export const networkFailure = (path: string, error: unknown, reached = true, operation: "read" | "write" = "read"): unknown => {
  if (error instanceof Transient || error instanceof IoError) return error
  const causes = causesOf(error)
  const code = causes.map((cause) => cause.code).find((found) => typeof found === "string") ?? ""
  const isNamed = (name: string): boolean => causes.some((cause) => cause.name === name)
  const say = (errno: string, detail: string) => new IoError({ path, operation, errno, detail })
  // The second is what AWS's client calls a body that stalls.
  if (TIMED_OUT.has(code) || isNamed("TimeoutError")) return new Transient(say("ETIMEDOUT", "the server does not answer in time"))
  if (LOST.has(code)) return new Transient(say("ECONNRESET", "the connection was cut"))
  if (UNREACHABLE.has(code)) {
    const failure = say(code, "the server cannot be reached")
    return reached ? new Transient(failure) : failure
  }
  if (/^(HPE_|UND_ERR_)/.test(code) || isNamed("HTTPParserError")) return new Transient(say("EPROTO", "the answer is no proper HTTP"))
  // What is wrong with a certificate is still wrong next time.
  if (/^(CERT_|ERR_TLS|ERR_SSL|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code)) return say("ETLS", `the server's certificate is not accepted (${code})`)
  return error
}

/** Seconds in a header, as milliseconds. */
const secondsIn = (text: string | undefined): number | undefined => {
  const seconds = Number(text)
  return text === undefined || !Number.isFinite(seconds) || seconds < 0 ? undefined : seconds * 1000
}

/** What of an answer tells this. */
type Said = Pick<HttpAnswer, "status" | "header">

/** How long the server wants to be left alone: `Retry-After`, or `t` of the Hub's `RateLimit: "api";r=0;t=55`. */
const pauseOf = ({ header }: Said): number | undefined => secondsIn(header("retry-after")) ?? secondsIn(/;\s*t=(\d+)/.exec(header("ratelimit") ?? "")?.[1])

export const REPEATED = new Set([408, 429, 500, 502, 503, 504])

/** An answer that is worth another try. */
export const transientAnswer = (path: string, answer: Said): Transient | undefined => {
  const { status } = answer
  if (!REPEATED.has(status)) return undefined
  const detail = status === 429 ? "the server's limit of requests is reached" : `the server answers ${status}`
  return new Transient(new IoError({ path, operation: "read", errno: status === 429 ? "ERATELIMIT" : "EHTTP", detail }), pauseOf(answer))
}
