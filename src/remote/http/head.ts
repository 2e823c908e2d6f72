/** The head of an answer of HTTP/1.1 (RFC 9112): a pure function on bytes. What may be read in two ways is refused. */

export interface AnswerHeader {
  readonly status: number
  /** By their names in small letters; of several of one name the first. */
  readonly headers: ReadonlyMap<string, string>
  /** Bytes of the body that follows; undefined where only the body itself tells (chunks, or the end of the connection). */
  readonly length: number | undefined
  /** The connection serves another request after this. */
  readonly lasting: boolean
}

/** Bytes of a head, the empty line included. */
export const LARGEST_HEAD = 64 << 10

const STATUS = /^HTTP\/1\.([01]) (\d{3})(?: |$)/
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/
const LENGTH = /^\d{1,15}$/

/** Node's own parser has errors with such codes. */
const malformed = (problem: string): Error => Object.assign(new Error(problem), { code: "HPE_INVALID_HEAD" })

/** Where the head ends, the empty line included; undefined while it goes on. */
export const endOfHead = (bytes: Buffer): number | undefined => {
  const at = bytes.indexOf("\r\n\r\n")
  return at < 0 ? undefined : at + 4
}

/**
 * `bytes`: all of the head, the empty line included.
 *
 * @throws Error with a code `HPE_…`
 */
export const parseHead = (bytes: Buffer): AnswerHeader => {
  const [first = "", ...lines] = bytes.toString("latin1", 0, bytes.byteLength - 4).split("\r\n")
  const [, minor, code] = STATUS.exec(first) ?? []
  if (code === undefined) throw malformed("no status line")
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(":")
    const name = line.slice(0, Math.max(0, colon)).toLowerCase()
    if (!NAME.test(name) || CONTROL.test(line)) throw malformed("no header")
    const value = line.slice(colon + 1).trim()
    const known = headers.get(name)
    if (known === undefined) headers.set(name, value)
    else if (name === "content-length" && known !== value) throw malformed("two lengths")
  }
  const length = headers.get("content-length")
  const coded = headers.has("transfer-encoding")
  if (length !== undefined && (coded || !LENGTH.test(length))) throw malformed("no length")
  const status = Number(code)
  const none = status < 200 || status === 204 || status === 304
  const connection = headers.get("connection")?.toLowerCase() ?? ""
  return { status, headers, length: none ? 0 : length === undefined ? undefined : Number(length), lasting: minor === "1" && !/\bclose\b/.test(connection) }
}
