/** A port for WebSockets: who has the token gets one, everybody else a status line. */
import type { IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import type { WebSocket } from "ws"
import { errnoOf } from "../io/errno.ts"
import type { Certificate } from "./certificate.ts"
import { loadWs } from "./library.ts"
import { isAuthorised } from "./token.ts"

export interface DoorOptions {
  readonly host: string
  /** 0: any. */
  readonly port: number
  readonly token: string
  readonly certificate?: Certificate | undefined
  /** Connections at a time, those that are not let in included. */
  readonly connections: number
  /** Bytes of the largest message that is taken; a larger one ends its connection (1009). */
  readonly largestMessage: number
  readonly onConnection: (ws: WebSocket) => void
  /** Somebody had no token, or another one. */
  readonly onDenied?: () => void
  /** An address that cannot be listened on, as an error of whoever listens. `reason`: the system's code, or its words. */
  readonly refused: (reason: string) => Error
}

export interface OpenDoor {
  readonly host: string
  readonly port: number
  /** Ends every connection. */
  readonly close: () => Promise<void>
}

/** Whoever connects says what it wants within so many milliseconds. */
const PATIENCE = 10_000
const LARGEST_HEADERS = 16 << 10
/** Parts of one message, and pieces of data that wait to be read: a peer may send them one byte each. */
const MOST_FRAGMENTS = 1024

const deny = (socket: Duplex, status: string): void => {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  setTimeout(() => socket.destroy(), 1000).unref()
}

export const openDoor = async (options: DoorOptions): Promise<OpenDoor> => {
  const { certificate, connections, host, largestMessage, onConnection, onDenied, port, refused, token } = options
  const { WebSocketServer } = await loadWs()
  const settings = { maxHeaderSize: LARGEST_HEADERS, headersTimeout: PATIENCE, requestTimeout: PATIENCE, keepAlive: true }
  // Loaded here: they are a third of the program's start, and most commands listen to nobody.
  const server = certificate ? (await import("node:https")).createServer({ ...settings, ...certificate }) : (await import("node:http")).createServer(settings)
  server.maxConnections = connections
  // `maxFragments` is newer than the types of the package.
  const limits: object = { maxFragments: MOST_FRAGMENTS }
  const sockets = new WebSocketServer({ noServer: true, maxPayload: largestMessage, perMessageDeflate: false, clientTracking: true, ...limits })
  server.on("request", (_, response) => { response.writeHead(426, { connection: "close" }).end() })
  server.on("clientError", (_, socket) => { socket.destroy() })
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => {})
    // A browser.
    if (request.headers.origin !== undefined) return deny(socket, "403 Forbidden")
    if (!isAuthorised(request.headers.authorization, token)) {
      onDenied?.()
      return deny(socket, "401 Unauthorized")
    }
    sockets.handleUpgrade(request, socket, head, onConnection)
  })
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(refused(errnoOf(error))))
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
