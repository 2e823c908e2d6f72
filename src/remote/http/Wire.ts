/**
 * A connection of HTTP/1.1 that reads bodies straight to where they are wanted: the kernel copies them there, and nobody else does. Through
 * a stream every part costs a piece of memory, two copies and some events, several times the time (docs/performance.md). One request at a
 * time; only bodies of a length that is said beforehand.
 */
import { connect as connectTcp, isIP, type Socket } from "node:net"
import { connect as connectTls, type ConnectionOptions } from "node:tls"
import type { HttpHeaders, RangeAnswer } from "./Answer.ts"
import { Overlong } from "./Answer.ts"
import { type AnswerHeader, endOfHead, LARGEST_HEAD, parseHead } from "./head.ts"

/** At most this much of a body is read to learn nothing: beyond it a new connection is cheaper. */
const MOST_DROPPED = 64 << 10
/** A view that is handed to the kernel, at most: what comes is rarely more, and its end is soon somebody else's memory. */
const LARGEST_READ = 1 << 20
/** Where a read may still be under way after its connection was ended, memory that others get next is not handed out. */
const STRAIGHT = process.platform !== "win32"

/** What a wire waits for. */
type Awaited =
  | { readonly kind: "nothing" }
  /** It has no request. */
  | { readonly kind: "rest" }
  | { readonly kind: "head"; readonly resolve: (head: AnswerHeader) => void; readonly reject: (error: unknown) => void }
  /** `left`: bytes that are still to come. */
  | { readonly kind: "body"; readonly into: Uint8Array; left: number; readonly took: (bytes: number) => void; readonly resolve: () => void; readonly reject: (error: unknown) => void }

const NOTHING: Awaited = { kind: "nothing" }

const cut = (): Error => Object.assign(new Error("the connection was cut"), { code: "ECONNRESET" })

export class Wire {
  readonly #socket: Socket
  readonly #origin: URL
  readonly #room = Buffer.allocUnsafeSlow(LARGEST_HEAD)
  /** Bytes of a head in the room. */
  #used = 0
  /** The view of somebody's memory that the next read goes to. */
  #straight: Uint8Array | undefined
  /** What came of a body before somebody wanted it. */
  #early: Array<Buffer> = []
  #awaited: Awaited = NOTHING
  #over = false

  /** `timeout`: milliseconds without a byte. `onOver`: it serves nobody any more. */
  constructor(origin: URL, timeout: number, onOver: () => void) {
    this.#origin = origin
    const { hostname, port, protocol } = origin
    const secure = protocol === "https:"
    const host = hostname.replace(/^\[|\]$/g, "")
    const options = {
      host,
      port: Number(port || (secure ? 443 : 80)),
      onread: { buffer: () => this.#next(), callback: (bytes: number, buffer: Uint8Array) => this.#came(bytes, buffer) }
    }
    const socket = this.#socket = secure
      ? connectTls({ ...options, ALPNProtocols: ["http/1.1"], ...(isIP(host) === 0 ? { servername: host } : {}) } as ConnectionOptions)
      : connectTcp(options)
    socket.setNoDelay(true)
    socket.setTimeout(timeout, () => this.end(Object.assign(new Error("no byte in time"), { code: "ETIMEDOUT" })))
    socket.on("error", (error) => this.end(error))
    socket.on("end", () => this.end(cut()))
    socket.on("close", () => {
      this.end(cut())
      onOver()
    })
  }

  get isOver(): boolean {
    return this.#over
  }

  /** Whoever waits for something here is told why it does not come; no memory is written to from here on. */
  end(error: unknown): void {
    if (this.#over) return
    this.#over = true
    const awaited = this.#awaited
    this.#awaited = NOTHING
    this.#socket.destroy()
    if (awaited.kind === "head" || awaited.kind === "body") awaited.reject(error)
  }

  /**
   * Ask for `url`. `done` is called when the answer is over and the wire can serve the next request; undefined: the length of the answer is
   * not said, the wire has ended.
   */
  async ask(url: URL, headers: HttpHeaders, done: () => void): Promise<RangeAnswer | undefined> {
    const lines = Object.entries({ host: this.#origin.host, connection: "keep-alive", ...headers }).map(([name, value]) => `${name}: ${value}`)
    // eslint-disable-next-line no-control-regex
    if (lines.some((line) => /[\u0000-\u001f\u007f]/.test(line))) throw new Error("a header has control characters")
    this.#socket.ref()
    this.#used = 0
    this.#early = []
    const head = await new Promise<AnswerHeader>((resolve, reject) => {
      if (this.#over) return reject(cut())
      this.#awaited = { kind: "head", resolve, reject }
      this.#socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`)
    })
    const { headers: said, lasting, length, status } = head
    if (length === undefined) {
      this.end(cut())
      return undefined
    }
    const over = (): void => {
      if (!lasting || this.#early.length > 0) this.end(cut())
      if (this.#over) return
      this.#awaited = { kind: "rest" }
      // A process may end while a wire waits for its next request.
      this.#socket.unref()
      done()
    }
    return {
      url,
      status,
      header: (name) => said.get(name),
      fill: (into, took) => {
        if (length <= into.byteLength) return this.#fill(into.subarray(0, length), took).then(over)
        this.end(cut())
        return Promise.reject(new Overlong())
      },
      drop: async () => {
        if (length > MOST_DROPPED) this.end(cut())
        else await this.#fill(new Uint8Array(length), () => {}).then(over, () => {})
      }
    }
  }

  #fill(into: Uint8Array, took: (bytes: number) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(cut())
      this.#awaited = { kind: "body", into, left: into.byteLength, took, resolve, reject }
      const early = this.#early
      this.#early = []
      if (early.length === 0) this.#body(this.#room, 0)
      for (const part of early) this.#body(part, part.byteLength)
      this.#socket.resume()
    })
  }

  /** Where the next read goes; never to no room at all. */
  #next(): Uint8Array {
    const awaited = this.#awaited
    this.#straight = awaited.kind === "body" && STRAIGHT ? awaited.into.subarray(awaited.into.byteLength - awaited.left).subarray(0, LARGEST_READ) : undefined
    if (this.#straight !== undefined) return this.#straight
    return this.#used < this.#room.byteLength ? this.#room.subarray(this.#used) : this.#room
  }

  /** So many bytes are in `buffer`; false: the next ones may wait. */
  #came(bytes: number, buffer: Uint8Array): boolean {
    try {
      switch (this.#awaited.kind) {
        // Nobody has asked for this.
        case "rest": throw cut()
        case "body":
          this.#body(buffer, bytes)
          return true
        case "head": return this.#header(bytes)
        case "nothing":
          // The beginning of a body.
          if (!this.#over) this.#early.push(Buffer.from(buffer.subarray(0, bytes)))
          return false
      }
    } catch (error) {
      this.end(error)
      return false
    }
  }

  #header(bytes: number): boolean {
    const all = this.#room.subarray(0, this.#used += bytes)
    const end = endOfHead(all)
    if (end === undefined) {
      if (all.byteLength === this.#room.byteLength) throw Object.assign(new Error("a large head"), { code: "HPE_HEADER_OVERFLOW" })
      return true
    }
    const head = parseHead(all.subarray(0, end))
    const rest = Buffer.from(all.subarray(end))
    this.#used = 0
    if (head.status < 200) {
      // Something to know while the answer is made: the answer follows.
      this.#room.set(rest)
      return rest.byteLength > 0 ? this.#header(rest.byteLength) : true
    }
    if (rest.byteLength > 0) this.#early.push(rest)
    const { resolve } = this.#awaited as Extract<Awaited, { kind: "head" }>
    this.#awaited = NOTHING
    resolve(head)
    return false
  }

  #body(buffer: Uint8Array, bytes: number): void {
    const body = this.#awaited
    if (body.kind !== "body") {
      if (bytes > 0) this.#early.push(Buffer.from(buffer.subarray(0, bytes)))
      return
    }
    const own = Math.min(bytes, body.left)
    if (buffer !== this.#straight) body.into.set(buffer.subarray(0, own), body.into.byteLength - body.left)
    if (own < bytes) this.#early.push(Buffer.from(buffer.subarray(own, bytes)))
    body.left -= own
    if (own > 0) body.took(own)
    if (body.left > 0) return
    this.#awaited = NOTHING
    body.resolve()
  }
}
