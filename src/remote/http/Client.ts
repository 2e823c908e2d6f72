/**
 * Requests over HTTP/1.1, one thing at a time: time-outs, redirects, what is worth another try and after how long. Ranges are read by
 * {@link ./range.ts}. Nothing is decoded: every request asks for the bytes as they are.
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { Dispatcher } from "undici"
import { parseJson } from "../../document/StrictJson.ts"
import { IoError } from "../../errors.ts"
import { filling, type HttpAnswer, type HttpHeaders, type RangeAnswer, received } from "./Answer.ts"
import { networkFailure, REPEATED, Transient, transientAnswer } from "./failures.ts"
import { LARGEST_HEAD } from "./head.ts"
import { Lanes } from "./Lanes.ts"
import { redirected } from "./redirects.ts"
import { Wires } from "./Wires.ts"

export interface ClientOptions {
  /** Milliseconds without a byte. */
  readonly timeout: number
  /** Milliseconds before the first repetition; the next waits twice as long. */
  readonly patience?: number
}

/** Sums of everything that was asked over a network, for progress. */
export interface Traffic {
  requests: number
  bytes: number
  /** Bytes of objects that were written. */
  sent: number
  retries: number
  /** Until when a server asked to wait, in ms since the epoch; 0: not at all. */
  waitingUntil: number
}

export interface FollowOptions {
  readonly method?: "GET" | "HEAD"
  readonly signal?: AbortSignal
  /** A redirect to here is the answer: its `location` is the caller's business. */
  readonly until?: (to: URL) => boolean
}

const MOST_REDIRECTS = 5
const REDIRECTS = new Set([301, 302, 303, 307, 308])
const TRIES = 5
/** A commit of many files takes the Hub this many time-outs. */
const SENDING = 12
const LONGEST_PAUSE = 30_000
/** A rate limit's window is five minutes. */
const LONGEST_WAIT = 330_000
const LARGEST_JSON = 64 << 20

export class Client {
  readonly traffic: Traffic = { requests: 0, bytes: 0, sent: 0, retries: 0, waitingUntil: 0 }
  readonly lanes = new Lanes()
  readonly #wires: Wires
  readonly #timeout: number
  readonly #patience: number
  #dispatcher: Promise<Dispatcher> | undefined
  #reached = false

  constructor({ patience = 250, timeout }: ClientOptions) {
    this.#timeout = timeout
    this.#wires = new Wires(timeout)
    this.#patience = patience
  }

  /** Proxies are taken from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. */
  #connections(): Promise<Dispatcher> {
    return this.#dispatcher ??= import("undici").then(({ EnvHttpProxyAgent }) => new EnvHttpProxyAgent({
      // Over HTTP/2 all ranges would share one connection.
      allowH2: false,
      connections: 128,
      connect: { timeout: this.#timeout },
      headersTimeout: this.#timeout,
      bodyTimeout: this.#timeout,
      maxHeaderSize: LARGEST_HEAD
    }))
  }

  /** One request, one answer, redirects not followed. Rejects with {@link Transient} or IoError. */
  async ask(path: string, url: URL, headers: HttpHeaders, method: "GET" | "HEAD" = "GET", signal?: AbortSignal): Promise<HttpAnswer> {
    this.traffic.requests++
    try {
      const { body, headers: said, statusCode } = await (await this.#connections()).request({
        origin: url.origin, path: `${url.pathname}${url.search}`, method, headers: { "accept-encoding": "identity", ...headers }, ...(signal ? { signal } : {})
      })
      this.#reached = true
      // Whoever drops an answer does not need to know how it ends.
      body.on("error", () => {})
      return {
        url,
        status: statusCode,
        header: (name) => {
          const value = said[name]
          return Array.isArray(value) ? value[0] : value
        },
        receive: (take) => received(body, take),
        drop: async () => { await body.dump({ limit: 64 << 10 }).catch(() => {}) }
      }
    } catch (error) {
      throw networkFailure(path, error, this.#reached)
    }
  }

  /** Ask for a range, whose bytes go straight to where they are wanted. Otherwise as {@link Client.ask}. */
  async askRange(path: string, url: URL, headers: HttpHeaders, signal?: AbortSignal): Promise<RangeAnswer> {
    if (!this.#wires.lead(url)) return filling(await this.ask(path, url, headers, "GET", signal))
    this.traffic.requests++
    try {
      const answer = await this.#wires.ask(url, { "accept-encoding": "identity", ...headers }, signal)
      this.#reached = true
      if (answer !== undefined) return answer
    } catch (error) {
      throw networkFailure(path, error, this.#reached)
    }
    return filling(await this.ask(path, url, headers, "GET", signal))
  }

  /**
   * The same, redirects followed. `headersFor` says what an address is told: secrets are for one origin only. `until` ends it at an
   * answer that is for the caller.
   */
  follow(path: string, url: URL, headersFor: (url: URL) => HttpHeaders, { method, signal, until }: FollowOptions = {}): Promise<HttpAnswer> {
    return this.#following(path, url, (at) => this.ask(path, at, headersFor(at), method, signal), until)
  }

  /** A range, redirects followed, as {@link Client.askRange} and {@link Client.follow}. */
  followRange(path: string, url: URL, headersFor: (url: URL) => HttpHeaders, signal?: AbortSignal): Promise<RangeAnswer> {
    return this.#following(path, url, (at) => this.askRange(path, at, headersFor(at), signal))
  }

  async #following<A extends RangeAnswer | HttpAnswer>(path: string, url: URL, ask: (at: URL) => Promise<A>, until: (to: URL) => boolean = () => false): Promise<A> {
    let at = url
    for (let turns = 0; turns <= MOST_REDIRECTS; turns++) {
      const answer = await ask(at)
      if (!REDIRECTS.has(answer.status)) return answer
      try {
        const to = redirected(path, at, answer.header("location"))
        if (until(to)) return answer
        at = to
      } finally {
        await answer.drop()
      }
    }
    throw new IoError({ path, operation: "read", errno: "EREDIRECT", detail: `the server redirects more than ${MOST_REDIRECTS} times` })
  }

  /**
   * Try until it goes well, five times without progress. `progress`: a number that grows while something comes.
   *
   * @throws IoError, the one of the last try
   */
  async trying<A>(attempt: () => Promise<A>, progress: () => number = () => 0): Promise<A> {
    for (let tries = 1, before = progress();; tries++) {
      try {
        return await attempt()
      } catch (error) {
        if (!(error instanceof Transient)) throw error
        if (progress() > before) [tries, before] = [1, progress()]
        if (tries >= TRIES) throw error.failure
        this.traffic.retries++
        await this.#pause(error.after ?? Math.min(LONGEST_PAUSE, this.#patience * 2 ** (tries - 1) * (0.75 + Math.random() / 2)))
      }
    }
  }

  async #pause(milliseconds: number): Promise<void> {
    const pause = Math.min(LONGEST_WAIT, milliseconds)
    this.traffic.waitingUntil = Math.max(this.traffic.waitingUntil, Date.now() + pause)
    await sleep(pause)
  }

  /** A whole body of at most `limit` bytes. Rejects with {@link Transient} or IoError `E2BIG`. */
  async whole(path: string, answer: HttpAnswer, limit: number): Promise<Uint8Array> {
    const parts: Array<Uint8Array> = []
    let bytes = 0
    try {
      await answer.receive((part) => {
        parts.push(part)
        bytes += part.byteLength
        this.traffic.bytes += part.byteLength
        if (bytes > limit) throw new IoError({ path, operation: "read", errno: "E2BIG", detail: `the answer has more than ${limit} bytes` })
      })
    } catch (error) {
      throw networkFailure(path, error)
    }
    return Buffer.concat(parts)
  }

  /** A document that must be there. `refuse` makes an error of any other status. */
  json(path: string, url: URL, headersFor: (url: URL) => HttpHeaders, refuse: (answer: HttpAnswer) => Error): Promise<{ readonly value: unknown; readonly answer: HttpAnswer }> {
    return this.trying(() => this.lanes.through(async () => {
      const answer = await this.follow(path, url, headersFor)
      const again = transientAnswer(path, answer)
      if (answer.status !== 200) {
        await answer.drop()
        throw again ?? refuse(answer)
      }
      const bytes = await this.whole(path, answer, LARGEST_JSON)
      try {
        return { value: parseJson(bytes), answer }
      } catch {
        throw new IoError({ path, operation: "read", errno: "EPROTO", detail: `${url.origin} answers with something that is no JSON` })
      }
    }))
  }

  /**
   * `fetch` for a library that sends: its requests are tried again, go through the same proxies and are counted. `secret`, an authorization,
   * goes only where `isOwn` says.
   */
  fetching(path: string, isOwn: (url: URL) => boolean, secret: string): typeof globalThis.fetch {
    const dispatcher = import("undici").then(({ EnvHttpProxyAgent }) => new EnvHttpProxyAgent({
      allowH2: false, connections: 32, connect: { timeout: this.#timeout }, headersTimeout: SENDING * this.#timeout, bodyTimeout: this.#timeout, maxHeaderSize: LARGEST_HEAD
    }))
    return (async (input: string | URL, init: RequestInit = {}) => {
      const url = new URL(String(input))
      const headers = new Headers(init.headers)
      if (!isOwn(url) && headers.get("authorization") === secret) headers.delete("authorization")
      const { fetch } = await import("undici")
      return this.trying(() => this.lanes.through(async () => {
        this.traffic.requests++
        const answer = await fetch(url, { ...init, headers: [...headers], dispatcher: await dispatcher } as unknown as Parameters<typeof fetch>[1])
          .catch((error: unknown) => { throw init.signal?.aborted ? error : networkFailure(path, error, true, "write") })
        if (REPEATED.has(answer.status)) {
          await answer.body?.cancel().catch(() => {})
          const header = (name: string): string | undefined => answer.headers.get(name) ?? undefined
          throw transientAnswer(path, { status: answer.status, header })!
        }
        if (init.body instanceof Blob) this.traffic.sent += init.body.size
        return answer
      }))
    }) as unknown as typeof globalThis.fetch
  }
}
