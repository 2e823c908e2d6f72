/**
 * Bytes of one object by ranges. What a server gives is taken only if it says that it is what was asked for: status 206, the range
 * itself, the object's size and its tag. A connection that breaks is gone on with where it broke.
 */
import { IoError } from "../../errors.ts"
import { type HttpHeaders, Overlong, type RangeAnswer } from "./Answer.ts"
import type { Client } from "./Client.ts"
import { networkFailure, Transient, transientAnswer } from "./failures.ts"

/** Where the object is now. `fresh`: the address that was given last does not work any more. */
export type Locate = (fresh: boolean) => Promise<{ readonly url: URL; readonly headers: HttpHeaders }>

/** Ask for `range` (as in the header). `fresh`: the address that was given last does not work any more. */
export type Ask = (range: string, fresh: boolean, signal: AbortSignal) => Promise<RangeAnswer>

/** Ask where the object is said to be; what it is told there is told to no other origin. */
export const askingAt = (client: Client, path: string, locate: Locate): Ask => async (range, fresh, signal) => {
  const { headers, url } = await locate(fresh)
  return client.followRange(path, url, (to) => ({ ...(to.origin === url.origin ? headers : {}), range }), signal)
}

/** What is known of an object, so that all ranges come from the same one. Found out with the first answer where it is unknown. */
export interface Pinned {
  /** Bytes. */
  size: number | undefined
  etag: string | undefined
}

/** Slower than this, a request is given up and begun again. Bytes per millisecond. */
const SLOWEST = 16
const LEAST_TIME = 60_000
/** Of one read: an address that was just given and does not work is no matter of time. */
const MOST_RENEWALS = 3

const CONTENT_RANGE = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/

const refuse = (path: string, problem: string): never => {
  throw new IoError({ path, operation: "read", errno: "EPROTO", detail: problem })
}

const replaced = (path: string, problem: string): never => {
  throw new IoError({ path, operation: "read", errno: "ESTALE", detail: problem })
}

/** A tag that stands for the same bytes; a weak one does not. */
const strong = (etag: string | undefined): string | undefined => (etag?.startsWith("W/") ? undefined : etag)

/** The answer is the range [start, end) of the object, or as much of it as there is where the size was unknown. Returns its end. */
const checkedEnd = (path: string, { header, status }: RangeAnswer, start: number, end: number, pinned: Pinned): number => {
  if (status === 200) refuse(path, "the server answers with the whole file where a range was asked for")
  if (status !== 206) refuse(path, `the server answers ${status} where a range was asked for`)
  if ((header("content-encoding") ?? "identity") !== "identity") refuse(path, "the server encodes the content")
  const [, from, last, total] = CONTENT_RANGE.exec(header("content-range") ?? "") ?? []
  if (from === undefined) return refuse(path, "the server does not say which range it sends")
  const size = total === "*" ? undefined : Number(total)
  if (pinned.size !== undefined && size !== undefined && size !== pinned.size) replaced(path, `it has ${size} bytes now, not ${pinned.size}`)
  if (pinned.size === undefined && size === undefined) refuse(path, "the server does not say how large it is")
  const wanted = Math.min(end, pinned.size ?? size!)
  if (Number(from) !== start || Number(last) !== wanted - 1) refuse(path, `the server sends bytes ${from}-${last} where ${start}-${wanted - 1} were asked for`)
  const length = header("content-length")
  if (length !== undefined && Number(length) !== wanted - start) refuse(path, `the server announces ${length} bytes of a range of ${wanted - start}`)
  const etag = strong(header("etag"))
  if (pinned.etag !== undefined && etag !== undefined && etag !== pinned.etag) replaced(path, "its tag (ETag) is another one than before")
  pinned.size ??= size
  pinned.etag ??= etag
  return wanted
}

/** What a status says that is no range; undefined for one. */
const unwelcome = (path: string, { status }: RangeAnswer): Error | undefined => {
  const say = (errno: string, detail: string) => new IoError({ path, operation: "read", errno, detail })
  switch (status) {
    case 401:
    case 403: return say("EACCES", `the server answers ${status}`)
    case 404:
    case 410: return say("ENOENT", `the server answers ${status}`)
    case 412: return say("ESTALE", "it was replaced (the server answers 412)")
    case 416: return say("ESTALE", "it is shorter than it was (the server answers 416)")
    default: return undefined
  }
}

/** An empty object has no range that could be sent: some servers say 416, others send all of it. */
const isEmpty = ({ header, status }: RangeAnswer, from: number, { size }: Pinned): boolean =>
  from === 0 && size === undefined && (status === 416 ? header("content-range") === "bytes */0" : status === 200 && header("content-length") === "0")

/**
 * Read the bytes from `start` on into `into`, which the object fills, or, where its size is unknown, as much as there is.
 *
 * @returns how many bytes there are
 * @throws IoError: `ESTALE` if the object is another one than before, `EPROTO` for an answer that is not what was asked for, `ENOENT`,
 * `EACCES`, and what the network fails with five times without progress.
 */
export const readRange = async (client: Client, path: string, ask: Ask, pinned: Pinned, start: number, into: Uint8Array): Promise<number> => {
  let done = 0
  let expected = into.byteLength
  let renewals = 0
  let fresh = false
  await client.trying(() => client.lanes.through(async () => {
    if (done >= expected) return
    const from = start + done
    const deadline = AbortSignal.timeout(LEAST_TIME + Math.ceil((expected - done) / SLOWEST))
    const renew = fresh
    fresh = false
    const answer = await ask(`bytes=${from}-${start + expected - 1}`, renew, deadline)
    if (isEmpty(answer, from, pinned)) {
      await answer.drop()
      pinned.size = expected = 0
      pinned.etag = strong(answer.header("etag"))
      return
    }
    const again = transientAnswer(path, answer)
    const bad = again ?? unwelcome(path, answer)
    if (bad !== undefined) {
      await answer.drop()
      // A signed address is valid for a while only; the next one may still work.
      if (!(bad instanceof Transient) && answer.status === 403 && renewals++ < MOST_RENEWALS) {
        fresh = true
        throw new Transient(bad as IoError, 0)
      }
      throw bad
    }
    try {
      expected = checkedEnd(path, answer, from, start + expected, pinned) - start
    } catch (error) {
      await answer.drop()
      throw error
    }
    try {
      await answer.fill(into.subarray(done, expected), (bytes) => {
        done += bytes
        client.traffic.bytes += bytes
        client.lanes.received(bytes)
      })
    } catch (error) {
      if (error instanceof Overlong) refuse(path, "the server sends more bytes than it announced")
      throw deadline.aborted
        ? new Transient(new IoError({ path, operation: "read", errno: "ETIMEDOUT", detail: "the server sends too slowly" }))
        : networkFailure(path, error)
    }
    if (done < expected) throw new Transient(new IoError({ path, operation: "read", errno: "ECONNRESET", detail: "the answer ended early" }))
  }), () => done)
  return expected
}
