/** The coordinator's door. */
import type { WebSocket } from "ws"
import { ClusterError, quote } from "../../errors.ts"
import type { Certificate } from "../../websocket/certificate.ts"
import { type OpenDoor, openDoor } from "../../websocket/door.ts"
import type { Coordinator, Peer } from "../Coordinator.ts"
import { LARGEST_MESSAGE } from "../messages.ts"

export interface ListenOptions {
  readonly host: string
  /** 0: any. */
  readonly port: number
  readonly token: string
  readonly certificate?: Certificate | undefined
  /** Processes in the job. */
  readonly world: number
}

/** A process that does not read is given up before its messages fill the coordinator's memory. */
const MOST_BUFFERED = 8 << 20
/** Beyond the processes of the job: those of former attempts, and strangers. */
const MORE_CONNECTIONS = 64

export const listen = (coordinator: Coordinator, { world, ...door }: ListenOptions): Promise<OpenDoor> =>
  openDoor({
    ...door,
    connections: 2 * world + MORE_CONNECTIONS,
    largestMessage: LARGEST_MESSAGE,
    onConnection: (ws) => attend(coordinator, ws),
    onDenied: () => coordinator.turnedAway(),
    refused: (reason) => new ClusterError({ code: "cluster/listen", problem: `rank 0 cannot listen on ${quote(door.host)} port ${door.port}: ${reason}`, hint: "--rendezvous HOST:PORT with another address or port, or --rendezvous file." })
  })

const attend = (coordinator: Coordinator, ws: WebSocket): void => {
  let why: string | undefined
  const peer: Peer = {
    send: (data) => {
      if (ws.readyState !== ws.OPEN) return
      if (ws.bufferedAmount <= MOST_BUFFERED) return ws.send(data, () => {})
      why = "it does not read what it is sent"
      ws.terminate()
    },
    close: () => {
      ws.close(1000)
      setTimeout(() => ws.terminate(), 1000).unref()
    }
  }
  const seat = coordinator.connect(peer)
  ws.on("message", (data, isBinary) => coordinator.receive(seat, isBinary ? "" : String(data)))
  ws.on("error", (error: NodeJS.ErrnoException) => { why ??= `a connection error (${error.code ?? error.message})` })
  ws.on("close", () => coordinator.closed(seat, why))
}
