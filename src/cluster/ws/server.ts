/** The coordinator's door: who has the token gets a WebSocket, everybody else a status line. */
import type { IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import type { WebSocket } from "ws"
import { ClusterError, quote } from "../../errors.ts"
import type { Coordinator, Peer } from "../Coordinator.ts"
import { LARGEST_MESSAGE } from "../messages.ts"
import type { Certificate } from "./certificate.ts"
import { loadWs } from "./library.ts"
import { isAuthorised } from "./token.ts"

export interface ListenOptions {
  readonly host: string
  /** 0: any. */
  readonly port: number
  readonly token: string
  readonly certificate?: Certificate | undefined
  /** Processes in the job. */
  readonly world: number
}

export interface Listening {
  readonly host: string
  readonly port: number
  /** Ends every connection. */
  readonly close: () => Promise<void>
}

/** A process that does not read is given up before its messages fill the coordinator's memory. */
const MOST_BUFFERED = 8 << 20
/** Whoever connects says what it wants within so many milliseconds. */
const PATIENCE = 10_000
const LARGEST_HEADERS = 16 << 10
/** Beyond the processes of the job: those of former attempts, and strangers. */
const MORE_CONNECTIONS = 64

const deny = (socket: Duplex, status: string): void => {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  setTimeout(() => socket.destroy(), 1000).unref()
}

export const listen = async (coordinator: Coordinator, { certificate, host, port, token, world }: ListenOptions): Promise<Listening> => {
  const { WebSocketServer } = await loadWs()
  const settings = { maxHeaderSize: LARGEST_HEADERS, headersTimeout: PATIENCE, requestTimeout: PATIENCE, keepAlive: true }
  // Loaded here: they are a third of the program's start, and most commands listen to nobody.
  const server = certificate ? (await import("node:https")).createServer({ ...settings, ...certificate }) : (await import("node:http")).createServer(settings)
  server.maxConnections = 2 * world + MORE_CONNECTIONS
  const sockets = new WebSocketServer({ noServer: true, maxPayload: LARGEST_MESSAGE, perMessageDeflate: false, clientTracking: true })
  server.on("request", (_, response) => { response.writeHead(426, { connection: "close" }).end() })
  server.on("clientError", (_, socket) => { socket.destroy() })
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => {})
    // A browser.
    if (request.headers.origin !== undefined) return deny(socket, "403 Forbidden")
    if (!isAuthorised(request.headers.authorization, token)) {
      coordinator.turnedAway()
      return deny(socket, "401 Unauthorized")
    }
    sockets.handleUpgrade(request, socket, head, (ws) => { attend(coordinator, ws) })
  })
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new ClusterError({ code: "cluster/listen", problem: `rank 0 cannot listen on ${quote(host)} port ${port}: ${error.code ?? error.message}`, hint: "--rendezvous HOST:PORT with another address or port, or --rendezvous file." }))
    })
    server.listen({ host, port, backlog: 4096 }, resolve)
  })
  server.removeAllListeners("error").on("error", () => {})
  const address = server.address() as AddressInfo
  return {
    host: address.address,
    port: address.port,
    close: () => new Promise((resolve) => {
      for (const client of sockets.clients) client.terminate()
      server.closeAllConnections()
      server.close(() => resolve())
    })
  }
}

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
