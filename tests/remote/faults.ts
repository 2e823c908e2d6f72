/** What a network, a proxy or a store does wrong, one thing at a time, to the answer of a request. */
import type { ServerResponse } from "node:http"
import type { Asked, FakeHub } from "./fakeHub.ts"

export interface Fault {
  readonly name: string
  /** Repeated, it cannot go well; once, it must. */
  readonly fatal: boolean
  readonly spoil: (response: ServerResponse, usual: () => void, asked: Asked) => void
}

/** Let the usual answer be changed on its way. */
const changing = (response: ServerResponse, usual: () => void, head: (status: number, headers: Record<string, unknown>) => [number, Record<string, unknown>], body: (bytes: Buffer) => Buffer = (b) => b): void => {
  const { end, writeHead } = response
  response.writeHead = ((status: number, headers: Record<string, unknown> = {}) => writeHead.call(response, ...head(status, headers) as [number, never])) as never
  response.end = ((bytes?: Uint8Array | string) => end.call(response, (bytes === undefined ? bytes : body(Buffer.from(bytes as Uint8Array))) as never, undefined as never)) as never
  usual()
}

/** A body whose length nobody announces. */
const chunked = (headers: Record<string, unknown>): Record<string, unknown> =>
  ({ ...Object.fromEntries(Object.entries(headers).filter(([name]) => name !== "content-length")), "transfer-encoding": "chunked" })

const status = (code: number, headers: Record<string, string> = {}): Fault["spoil"] => (response) => { response.writeHead(code, headers).end("no") }

/** Part of the body, and then what `then` does. */
const afterHalf = (then: (response: ServerResponse) => void): Fault["spoil"] => (response, usual) => {
  const { writeHead } = response
  response.writeHead = ((code: number, headers: never) => writeHead.call(response, code, headers)) as never
  response.end = ((content?: Uint8Array | string) => {
    const bytes = Buffer.from((content ?? "") as string)
    if (bytes.byteLength < 2) {
      response.socket?.destroy()
      return response
    }
    response.write(bytes.subarray(0, bytes.byteLength >> 1), () => then(response))
    return response
  }) as never
  usual()
}

const redirect = (location: string): Fault["spoil"] => status(302, { location })

export const FAULTS: ReadonlyArray<Fault> = [
  { name: "delay", fatal: false, spoil: (_, usual) => { setTimeout(usual, 20) } },
  { name: "reset before an answer", fatal: true, spoil: (response) => { response.socket?.destroy() } },
  { name: "black hole", fatal: true, spoil: () => {} },
  { name: "cut in mid-body", fatal: true, spoil: afterHalf((response) => response.socket?.destroy()) },
  { name: "stall in mid-body", fatal: true, spoil: afterHalf(() => {}) },
  { name: "half the headers", fatal: true, spoil: (response) => { response.socket?.end("HTTP/1.1 206 Partial Content\r\ncontent-ra") } },
  { name: "no HTTP", fatal: true, spoil: (response) => { response.socket?.end("ICY 200 OK\r\n\r\n") } },
  { name: "short body, clean end", fatal: true, spoil: (response, usual) => changing(response, usual, (code, headers) => [code, chunked(headers)], (b) => b.subarray(0, b.byteLength >> 1)) },
  { name: "long body", fatal: true, spoil: (response, usual) => changing(response, usual, (code, headers) => [code, chunked(headers)], (b) => Buffer.concat([b, Buffer.alloc(100)])) },
  { name: "200 for a range", fatal: true, spoil: (response, usual) => changing(response, usual, (code, headers) => [code === 206 ? 200 : code === 200 ? 206 : code, headers]) },
  { name: "another range", fatal: true, spoil: (response, usual) => changing(response, usual, (code, headers) => [code, { ...headers, "content-range": "bytes 1-2/3" }]) },
  { name: "another size", fatal: true, spoil: (response, usual) => changing(response, usual, (code, headers) => [code, { ...headers, ...(headers["content-range"] ? { "content-range": `${String(headers["content-range"]).split("/")[0]}/123456789` } : { "x-linked-size": "5" }) }]) },
  { name: "replaced object", fatal: true, spoil: (response, usual) => changing(response, usual, (code, headers) => [code, { ...headers, etag: '"another"', "x-linked-etag": `"${"0".repeat(64)}"` }]) },
  { name: "gzip", fatal: true, spoil: (response, usual) => changing(response, usual, (code, headers) => [code, { ...headers, "content-encoding": "gzip" }]) },
  { name: "redirect loop", fatal: true, spoil: (response, _, { url }) => redirect(url)(response, () => {}, {} as Asked) },
  { name: "redirect to file:", fatal: true, spoil: redirect("file:///etc/passwd") },
  { name: "redirect to nowhere", fatal: true, spoil: redirect("http://127.0.0.3:9/x") },
  { name: "403", fatal: true, spoil: status(403) },
  { name: "404", fatal: true, spoil: status(404) },
  { name: "429", fatal: true, spoil: status(429, { ratelimit: '"api";r=0;t=0' }) },
  { name: "500", fatal: true, spoil: status(500) },
  { name: "503 with Retry-After", fatal: true, spoil: status(503, { "retry-after": "0" }) },
  { name: "huge header", fatal: true, spoil: (response, usual) => changing(response, usual, (code, headers) => [code, { ...headers, "x-much": "x".repeat(200_000) }]) }
]

/** Spoil answer `at` of what is asked from now on, and, with `all`, every one after it. Tells whether it came to that. */
export const spoilAnswer = (server: Pick<FakeHub, "spoil">, fault: Fault, at: number, all: boolean): (() => boolean) => {
  let seen = 0
  let spoiled = false
  server.spoil = (asked, response, usual) => {
    const own = seen++
    if (own !== at && !(all && own > at)) return false
    spoiled = true
    fault.spoil(response, usual, asked)
    return true
  }
  return () => spoiled
}
