/** The consumer's end of a weight stream: connects, checks what comes, gives credit as it is taken, goes on after a cut. */
import { setTimeout as pause } from "node:timers/promises"
import type { RawData, WebSocket } from "ws"
import { quote, StreamBroken, StreamRefused } from "../errors.ts"
import { bytesOfTensor } from "../space/TensorSpace.ts"
import { dial, NotConnected } from "../websocket/dial.ts"
import { decodeFrame, LARGEST_FRAME, LARGEST_WORD, type Manifest, STREAM_PROTOCOL, readServerWord, type Selection, type StreamedTensor, write } from "./protocol.ts"

export interface ConnectOptions extends Selection {
  /** The server's. */
  readonly token: string
  /** PEM: the server's certificate, trusted by being the very one. Absent: whom the system trusts, for `wss://`. */
  readonly certificate?: string | undefined
  /** Bytes that may be under way and not taken yet; 1 MiB at least, 16 MiB by default. */
  readonly window?: number | undefined
  /** Attempts in a row without a byte before a broken stream is given up; 5 by default. */
  readonly retries?: number | undefined
}

/** A piece of a tensor. The pieces of a tensor follow one another. */
export interface ReceivedWeight extends StreamedTensor {
  /** Where in the streamed tensor's bytes these begin. */
  readonly offset: number
  /** Little-endian, C order. The receiver's own. */
  readonly bytes: Uint8Array
  /** The tensor ends with it. */
  readonly last: boolean
}

const WINDOW = 16 << 20
const RETRIES = 5
const TIMEOUT = 20_000
/** Without anything from the server, which says something at least every 15 s. */
const SILENCE = 60_000
const LONGEST_PAUSE = 10_000

/** Codes that another attempt does not change. */
const FINAL: ReadonlySet<string> = new Set(["stream/component", "stream/tensors", "stream/shard", "stream/name", "stream/changed"])

const broken = (url: string, problem: string): StreamBroken => new StreamBroken({ code: "stream/broken", problem: `the weight stream from ${quote(url)}: ${problem}`, hint: "Is the server running, and can this host reach it? What was received so far is whole tensors and their pieces; begin again for the rest." })

/** How far the stream is. */
interface Progress {
  manifest: Manifest | undefined
  /** The last that anything came of, and how many of its bytes. */
  tensor: StreamedTensor | undefined
  offset: number
  /** Whole ones. */
  tensors: number
  bytes: number
}

/** Checks that pieces come in order, and are of what they say. A string: what is wrong. */
const accept = (progress: Progress, piece: ReceivedWeight): string | undefined => {
  const { dtype, last, name, offset, shape } = piece
  const { tensor } = progress
  const open = tensor !== undefined && progress.offset < bytesOfTensor(tensor.dtype, tensor.shape) ? tensor : undefined
  if (open ? name !== open.name || offset !== progress.offset || dtype !== open.dtype || shape.join() !== open.shape.join() : offset !== 0) return `${quote(name)} from byte ${offset} on came out of order`
  const end = offset + piece.bytes.byteLength
  const whole = bytesOfTensor(dtype, shape)
  if (end > whole || last !== (end === whole)) return `${quote(name)} has ${whole} bytes, and a piece that ends at ${end}${last ? ", its last" : ""}`
  progress.tensor = piece
  progress.offset = end
  progress.tensors += last ? 1 : 0
  progress.bytes += piece.bytes.byteLength
  return undefined
}

/** What one connection brings, and how it ends. */
class Connection {
  readonly #ws: WebSocket
  readonly #progress: Progress
  readonly queue: Array<ReceivedWeight> = []
  /** `true`: all has come. Else why there is no more. */
  ended: true | Error | undefined
  #wake: (() => void) | undefined
  #silence: NodeJS.Timeout

  constructor(ws: WebSocket, url: string, progress: Progress) {
    this.#ws = ws
    this.#progress = progress
    const heard = (): void => { this.#silence.refresh() }
    this.#silence = setTimeout(() => this.#end(broken(url, "nothing was heard for a minute")), SILENCE)
    ws.on("ping", heard)
    ws.on("message", (data, isBinary) => {
      heard()
      if (this.ended !== undefined) return
      const problem = isBinary ? this.#frame(data) : this.#word(data, url)
      if (problem !== undefined) this.#end(broken(url, problem))
    })
    ws.on("error", () => {})
    ws.on("close", (code, reason) => this.#end(broken(url, `the connection ended (${code}${reason.byteLength > 0 ? ` ${quote(String(reason))}` : ""})`)))
  }

  /** Until there is something to take, or an end. */
  async more(): Promise<void> {
    if (this.queue.length > 0 || this.ended !== undefined) return
    await new Promise<void>((resolve) => { this.#wake = resolve })
  }

  send(word: Parameters<typeof write>[0]): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.send(write(word), () => {})
  }

  close(): void {
    clearTimeout(this.#silence)
    this.#ws.close(1000)
    const timer = setTimeout(() => this.#ws.terminate(), 1000)
    this.#ws.once("close", () => clearTimeout(timer))
  }

  #end(why: true | Error): void {
    this.ended ??= why
    clearTimeout(this.#silence)
    this.#wake?.()
    if (why !== true) this.#ws.terminate()
  }

  #frame(data: RawData): string | undefined {
    if (this.#progress.manifest === undefined) return "weights before they were announced"
    const frame = decodeFrame(data as Buffer)
    if (typeof frame === "string") return frame
    const { header: { crc32: _, ...header }, bytes } = frame
    const piece = { ...header, bytes }
    const problem = header.shape.reduce((n, extent) => n * extent, 1) > Number.MAX_SAFE_INTEGER ? "a tensor has more elements than there can be" : accept(this.#progress, piece)
    if (problem === undefined) {
      this.queue.push(piece)
      this.#wake?.()
    }
    return problem
  }

  #word(data: RawData, url: string): string | undefined {
    const word = readServerWord(data as Buffer)
    if (typeof word === "string") return word
    const { manifest } = this.#progress
    switch (word.type) {
      case "manifest": {
        if (manifest !== undefined && manifest.identity !== word.identity) return "other weights are announced than before"
        this.#progress.manifest = word
        return undefined
      }
      case "end": {
        if (manifest === undefined || this.#progress.tensors !== manifest.tensors || this.#progress.bytes !== manifest.bytes) return "it ended before all had come"
        this.#end(true)
        return undefined
      }
      case "error": {
        const message = word.message.split("\n")[0]!
        this.#end(FINAL.has(word.code) ? new StreamRefused({ code: word.code, problem: `the server at ${quote(url)} refuses: ${message}` })
          : word.code === "malformed" ? new StreamRefused({ code: "stream/protocol", problem: `the server at ${quote(url)} does not take what this program asks: ${message}`, hint: "See that both run the same version." })
          : broken(url, `${word.code}: ${message}`))
        return undefined
      }
    }
  }
}

/**
 * The weights of a server, in the order of the model. A connection that breaks is made again, and the stream goes on where it was.
 * Rejects with StreamRefused (an unknown token, component or shard; other weights than before), StreamBroken, LaunchError (no `ws`).
 */
export const connectTo = async function*(url: string, options: ConnectOptions, signal: AbortSignal): AsyncGenerator<ReceivedWeight, void> {
  const { certificate, components, retries = RETRIES, shard, tensors, token } = options
  const window = Math.max(LARGEST_FRAME, options.window ?? WINDOW)
  const progress: Progress = { manifest: undefined, tensor: undefined, offset: 0, tensors: 0, bytes: 0 }
  for (let attempt = 0; ;) {
    const before = progress.bytes
    let failure: Error
    try {
      const ws = await dial(url, { token, certificate, largestMessage: Math.max(LARGEST_FRAME, LARGEST_WORD), timeout: TIMEOUT, signal })
      const connection = new Connection(ws, url, progress)
      try {
        connection.send({
          type: "open", protocol: STREAM_PROTOCOL, credit: window,
          ...(components === undefined ? {} : { components: [...components] }),
          ...(tensors === undefined ? {} : { tensors: [...tensors] }),
          ...(shard === undefined ? {} : { shard }),
          ...resumed(progress)
        })
        const abort = (): void => { ws.terminate() }
        signal.addEventListener("abort", abort, { once: true })
        let taken = 0
        try {
          for (;;) {
            await connection.more()
            signal.throwIfAborted()
            const piece = connection.queue.shift()
            if (piece !== undefined) {
              yield piece
              taken += piece.bytes.byteLength
              if (taken >= window / 4) {
                connection.send({ type: "credit", bytes: taken })
                taken = 0
              }
              continue
            }
            if (connection.ended === true) return
            failure = connection.ended!
            break
          }
        } finally {
          signal.removeEventListener("abort", abort)
        }
      } finally {
        connection.close()
      }
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof NotConnected)) throw error
      if (error.denied) throw new StreamRefused({ code: "stream/token", problem: `the server at ${quote(url)} does not know this token`, hint: "MEGATRON_MIMO_TOKEN, or MEGATRON_MIMO_TOKEN_FILE, must hold the server's." })
      failure = broken(url, `no connection (${error.message})`)
    }
    if (failure instanceof StreamRefused) throw failure
    attempt = progress.bytes > before ? 1 : attempt + 1
    if (attempt > retries) throw failure
    // All at once would come back all at once.
    await pause(Math.min(LONGEST_PAUSE, 200 * 2 ** attempt) * (0.5 + Math.random()), undefined, { signal })
  }
}

/** Where to go on: what has come is not asked for again. */
const resumed = ({ manifest, offset, tensor }: Progress): object =>
  manifest === undefined || tensor === undefined ? {} : { resume: { identity: manifest.identity, tensor: tensor.name, offset } }
