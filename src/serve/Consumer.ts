/** One connection that weights are sent to. */
import type { RawData, WebSocket } from "ws"
import { isBridgeError, StreamRefused } from "../errors.ts"
import type { Selected } from "./Catalogue.ts"
import type { Desk } from "./Desk.ts"
import type { Feed, StreamPosition, Taker } from "./Feed.ts"
import { Close, type OpenWord, STREAM_PROTOCOL, readConsumerWord, type ServerWord, write } from "./protocol.ts"

/** Bytes that are given to the socket and not sent yet: a consumer that reads nothing holds no more. */
const MOST_UNSENT = 2 << 20
/** Messages beyond two for each frame that was sent. */
const MORE_MESSAGES = 256
/** More credit would be no credit. */
const MOST_CREDIT = 2 ** 40

export interface ConsumerLimits {
  /** Milliseconds until a consumer has said what it wants. */
  readonly opening: number
  /** Between two signs of life; after three without an answer the connection is ended. */
  readonly beat: number
  /** With credit, and without taking a byte. */
  readonly stall: number
}

export const CONSUMER_LIMITS: ConsumerLimits = { opening: 10_000, beat: 15_000, stall: 120_000 }

export interface ConsumerOptions {
  readonly limits: ConsumerLimits
  readonly desk: Desk
  readonly select: (word: OpenWord) => Selected
  readonly onSent: (bytes: number) => void
  readonly onEnd: (complete: boolean) => void
}

export class Consumer implements Taker {
  readonly #ws: WebSocket
  readonly #options: ConsumerOptions
  readonly #timers: Array<NodeJS.Timeout> = []
  #selected: Selected | undefined
  #position: StreamPosition = { tensor: 0, offset: 0 }
  #feed: Feed | undefined
  #waiting = false
  #credit = 0
  /** The next frame is more than the credit. */
  #short = false
  #messages = 0
  #sent = 0
  #answered = true
  #silentBeats = 0
  #taken = performance.now()
  #over = false

  constructor(ws: WebSocket, options: ConsumerOptions) {
    this.#ws = ws
    this.#options = options
    const { beat, opening, stall } = options.limits
    this.#timers.push(setTimeout(() => { if (this.#selected === undefined) this.end(Close.silent, "silent", "nothing was asked for") }, opening))
    this.#timers.push(setInterval(() => this.#beat(stall), beat))
    ws.on("pong", () => { this.#answered = true })
    ws.on("message", (data, isBinary) => this.#hear(data, isBinary))
    ws.on("error", () => {})
    ws.on("close", () => this.#gone())
  }

  get ready(): boolean {
    return !this.#over && this.#credit > 0 && !this.#short && this.#ws.bufferedAmount < MOST_UNSENT
  }

  /** Tell why, and close. */
  end(close: number, code: string, message: string): void {
    if (this.#over) return
    this.#say({ type: "error", code, message: message.slice(0, 4000) })
    this.#close(close, code)
  }

  readonly notify = (): void => {
    for (let feed = this.#feed; feed !== undefined && feed === this.#feed && !this.#over;) {
      const frame = feed.peek(this)
      if (frame === undefined) return
      if (frame === "end") return this.#complete()
      this.#short = this.#credit < frame.bytes
      if (this.#short || this.#ws.bufferedAmount >= MOST_UNSENT) return
      this.#credit -= frame.bytes
      this.#position = frame.next
      this.#sent++
      this.#options.onSent(frame.bytes)
      this.#ws.send(frame.data, { binary: true }, (error) => {
        if (error) return
        this.#taken = performance.now()
        if (this.#feed === undefined && this.#selected !== undefined) this.#seat()
        this.notify()
      })
      feed.take(this)
    }
  }

  adrift(): void {
    this.#feed = undefined
    this.#seat()
  }

  failed(error: unknown): void {
    this.#feed = undefined
    if (error instanceof StreamRefused) return this.end(error.code === "stream/changed" ? Close.changed : Close.refused, error.code, error.message)
    this.end(Close.failed, isBridgeError(error) ? error.code : "internal", error instanceof Error ? error.message : "reading failed")
  }

  #say(word: ServerWord): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.send(write(word), () => {})
  }

  #close(code: number, reason: string): void {
    this.#gone()
    this.#ws.close(code, reason)
    setTimeout(() => this.#ws.terminate(), 2000).unref()
  }

  #gone(complete = false): void {
    if (this.#over) return
    this.#over = true
    for (const timer of this.#timers) clearInterval(timer)
    this.#feed?.leave(this)
    this.#feed = undefined
    this.#options.desk.forget(this)
    this.#options.onEnd(complete)
  }

  #beat(stall: number): void {
    // A message that is never finished keeps its connection busy with nothing, as silence does.
    this.#silentBeats = this.#answered ? 0 : this.#silentBeats + 1
    if (this.#silentBeats >= 3) return this.#ws.terminate()
    this.#answered = false
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.ping(() => {})
    if (this.#selected !== undefined && this.#ws.bufferedAmount > 0 && performance.now() - this.#taken > stall) this.end(Close.silent, "stalled", "no bytes were taken")
  }

  #hear(data: RawData, isBinary: boolean): void {
    if (this.#over) return
    if (++this.#messages > MORE_MESSAGES + 2 * this.#sent) return this.end(Close.flood, "flood", "more messages than a stream needs")
    const word = isBinary ? "a binary message" : readConsumerWord(data as Buffer)
    if (typeof word === "string") return this.end(Close.malformed, "malformed", word)
    if (word.type === "open") return this.#open(word)
    if (this.#selected === undefined) return this.end(Close.malformed, "malformed", "credit before anything was asked for")
    this.#credit = Math.min(MOST_CREDIT, this.#credit + word.bytes)
    this.#short = false
    if (this.#feed === undefined) this.#seat()
    this.notify()
  }

  #open(word: OpenWord): void {
    if (this.#selected !== undefined) return this.end(Close.malformed, "malformed", "open was said twice")
    let selected: Selected
    try {
      selected = this.#options.select(word)
      this.#position = this.#begin(selected, word.resume)
    } catch (error) {
      return this.failed(error)
    }
    this.#selected = selected
    this.#credit = word.credit
    this.#taken = performance.now()
    this.#say({ type: "manifest", protocol: STREAM_PROTOCOL, identity: selected.identity, tensors: selected.tensors, bytes: selected.bytes })
    this.#seat()
  }

  #begin(selected: Selected, resume: OpenWord["resume"]): StreamPosition {
    if (resume === undefined) return { tensor: 0, offset: 0 }
    if (resume.identity !== selected.identity) throw new StreamRefused({ code: "stream/changed", problem: "the weights are not those that the stream began with", hint: "Begin again." })
    const tensor = selected.find(resume.tensor)
    if (tensor === undefined) throw new StreamRefused({ code: "stream/tensors", problem: "the stream has no tensor of the name that it shall go on with" })
    const { bytes } = selected.tensor(tensor)
    if (resume.offset > bytes) throw new StreamRefused({ code: "stream/tensors", problem: `the tensor that the stream shall go on with has ${bytes} bytes` })
    return resume.offset === bytes ? { tensor: tensor + 1, offset: 0 } : { tensor, offset: resume.offset }
  }

  /** A consumer without credit needs no reading. */
  #seat(): void {
    const selected = this.#selected!
    if (this.#over || this.#waiting || this.#feed !== undefined) return
    if (this.#position.tensor >= selected.tensors) return this.#complete()
    if (!this.ready) return
    this.#waiting = true
    this.#options.desk.seat({
      taker: this, selected, position: this.#position,
      seated: (feed) => {
        this.#waiting = false
        this.#feed = feed
      }
    })
  }

  #complete(): void {
    const { bytes, tensors } = this.#selected!
    this.#say({ type: "end", tensors, bytes })
    this.#gone(true)
    this.#ws.close(Close.done)
    setTimeout(() => this.#ws.terminate(), 30_000).unref()
  }
}
