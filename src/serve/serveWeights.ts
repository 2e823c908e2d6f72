/** OfferedWeights, streamed to whoever has the token. */
import { LaunchError, quote, quotePath, StreamRefused } from "../errors.ts"
import type { Certificate } from "../websocket/certificate.ts"
import { openDoor } from "../websocket/door.ts"
import { type Selected, select, type OfferedWeights } from "./Catalogue.ts"
import { Consumer, CONSUMER_LIMITS, type ConsumerLimits } from "./Consumer.ts"
import { Desk } from "./Desk.ts"
import type { Reader } from "./Feed.ts"
import { Close, LARGEST_WORD, type Selection } from "./protocol.ts"

export interface ServeOptions {
  readonly host: string
  /** 0: any. */
  readonly port: number
  readonly token: string
  readonly certificate?: Certificate | undefined
  /** Consumers that are expected: a reading starts at once when so many have come, and the server ends when so many have got everything. */
  readonly consumers?: number | undefined
  /** Milliseconds that a reading waits for more consumers before it starts. */
  readonly gather: number
  readonly limits?: ConsumerLimits | undefined
}

export const SERVE_BOUNDS = { consumers: 256 } as const
/** Connections that are not consumers: those that are being made, or turned away. */
const MORE_CONNECTIONS = 64
/** Selections that are kept for the next who asks the same. */
const KEPT_SELECTIONS = 64

/** What a server did. Bytes are those of weights. */
export interface Served {
  /** Consumers that got everything they asked for. */
  readonly complete: number
  /** Connections that ended before. */
  readonly broken: number
  /** Connections without the token. */
  readonly denied: number
  readonly bytesRead: number
  readonly bytesSent: number
}

export interface Serving {
  readonly host: string
  readonly port: number
  /** Settles once the expected consumers have got everything; never where none are expected. */
  readonly finished: Promise<void>
  readonly served: () => Served
  readonly close: () => Promise<void>
}

/** @throws LaunchError `launch/listen` for an address that cannot be listened on. */
export const serveWeights = async (weights: OfferedWeights, reader: Reader, options: ServeOptions, onSent: (bytes: number) => void = () => {}): Promise<Serving> => {
  const { consumers: expected, gather, limits = CONSUMER_LIMITS } = options
  const desk = new Desk({ reader, gather, consumers: expected, check: () => weights.unchanged() })
  const selections = new Map<string, Selected>()
  const present = new Set<Consumer>()
  let [complete, broken, denied, sent] = [0, 0, 0, 0]
  let finish: () => void
  const finished = new Promise<void>((resolve) => { finish = resolve })

  const selected = ({ components, shard, tensors }: Selection): Selected => {
    const asked = JSON.stringify([components, shard, tensors])
    const known = selections.get(asked) ?? select(weights, { components, shard, tensors })
    selections.delete(asked)
    selections.set(asked, known)
    if (selections.size > KEPT_SELECTIONS) selections.delete(selections.keys().next().value!)
    return known
  }

  const door = await openDoor({
    host: options.host, port: options.port, token: options.token, certificate: options.certificate,
    connections: SERVE_BOUNDS.consumers + MORE_CONNECTIONS,
    largestMessage: LARGEST_WORD,
    onDenied: () => { denied++ },
    refused: (reason) => new LaunchError({ code: "launch/listen", problem: `cannot listen on ${quote(options.host)} port ${options.port}: ${reason}`, hint: "--listen HOST:PORT with another address or port." }),
    onConnection: (ws) => {
      if (present.size >= SERVE_BOUNDS.consumers) {
        ws.on("error", () => {})
        ws.close(Close.full, "full")
        setTimeout(() => ws.terminate(), 2000).unref()
        return
      }
      const consumer: Consumer = new Consumer(ws, {
        limits, desk, select: selected,
        onSent: (bytes) => {
          sent += bytes
          onSent(bytes)
        },
        onEnd: (whole) => {
          present.delete(consumer)
          if (whole) complete++
          else broken++
          // Its last words are still on their way.
          if (whole && complete === expected) ws.once("close", finish)
        }
      })
      present.add(consumer)
    }
  })
  return {
    host: door.host, port: door.port, finished,
    served: () => ({ complete, broken, denied, bytesRead: desk.read, bytesSent: sent }),
    close: async () => {
      desk.close()
      for (const consumer of present) consumer.end(Close.leaving, "leaving", "the server ends")
      await door.close()
    }
  }
}

export const weightsChanged = (path: string): StreamRefused => new StreamRefused({ code: "stream/changed", problem: `${quotePath(path)} has changed since the weights were opened`, hint: "Start the server again: it serves one state of a checkpoint." })
