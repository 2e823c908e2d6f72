/** Calls to one engine over HTTP: JSON both ways, a time limit for each, no redirect followed, no secret in any message. */
import type { Dispatcher } from "undici"
import { parseJson } from "../../document/StrictJson.ts"
import { IoError, UsageError } from "../../errors.ts"

const LARGEST_ANSWER = 16 << 20
/** Of what an engine says in an error; the rest is of no use to people. */
const LONGEST_MESSAGE = 300

export interface EngineAnswer {
  readonly status: number
  /** Undefined: there was no JSON. */
  readonly json: unknown
  readonly text: string
}

export interface CallOptions {
  readonly body?: object
  /** Milliseconds. */
  readonly timeout: number
  readonly signal: AbortSignal
}

const asJson = (text: string): unknown => {
  try {
    return parseJson(Buffer.from(text))
  } catch {
    return undefined
  }
}

/** The address of an engine, without a slash at its end. @throws UsageError */
export const engineAddress = (text: string): string => {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) throw new UsageError({ problem: `--engine ${text} is no http address`, hint: "--engine http://HOST:PORT" })
  const url = new URL(text)
  if (url.username !== "" || url.password !== "") throw new UsageError({ problem: "--engine: an address must not hold a password", hint: "--auth-file or --auth-env names a token." })
  if (url.search !== "" || url.hash !== "") throw new UsageError({ problem: `--engine ${text}: an address has no query` })
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`
}

export class EngineClient {
  readonly address: string
  readonly #headers: Readonly<Record<string, string>>
  #agent: Promise<Dispatcher> | undefined

  /** `token`: sent as a bearer token with every call. */
  constructor(address: string, token?: string) {
    this.address = address
    this.#headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  }

  /** An engine is near: no proxy, and a connection of its own for each phase, as some restart between them. */
  #connections(): Promise<Dispatcher> {
    return this.#agent ??= import("undici").then(({ Agent }) => new Agent({ allowH2: false, pipelining: 0, headersTimeout: 0, bodyTimeout: 0 }))
  }

  /** What the engine answers, whatever its status. @throws IoError if it does not answer in time, or not at all */
  async call(method: "GET" | "POST", path: string, { body, signal, timeout }: CallOptions): Promise<EngineAnswer> {
    const place = `${this.address}${path.replace(/\?.*/, "")}`
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeout)])
    try {
      const url = new URL(`${this.address}${path}`)
      const answer = await (await this.#connections()).request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: { accept: "application/json", ...this.#headers, ...(body ? { "content-type": "application/json" } : {}) },
        ...(body ? { body: JSON.stringify(body) } : {}),
        signal: limit
      })
      const parts: Array<Uint8Array> = []
      let bytes = 0
      for await (const part of answer.body as AsyncIterable<Uint8Array>) {
        bytes += part.byteLength
        if (bytes > LARGEST_ANSWER) throw new IoError({ path: place, operation: "read", errno: "E2BIG", detail: `the answer has more than ${LARGEST_ANSWER} bytes` })
        parts.push(part)
      }
      const text = Buffer.concat(parts).toString("utf8")
      return { status: answer.statusCode, json: asJson(text), text: text.slice(0, LONGEST_MESSAGE) }
    } catch (error) {
      if (error instanceof IoError) throw error
      signal.throwIfAborted()
      const isLate = limit.aborted
      const { code } = error as { readonly code?: unknown }
      throw new IoError({
        path: place,
        operation: method === "GET" ? "read" : "write",
        errno: isLate ? "ETIMEDOUT" : typeof code === "string" && /^E[A-Z]+$/.test(code) ? code : "ECONNRESET",
        detail: isLate ? `the engine did not answer within ${timeout / 1000} s` : "the engine cannot be reached, or cut the connection"
      })
    }
  }

  async close(): Promise<void> {
    await (await this.#agent)?.destroy()
    this.#agent = undefined
  }
}
