/** A process's way to the coordinator. */
import type { ConnectionOptions } from "node:tls"
import type { ClientOptions, WebSocket } from "ws"
import type { Member } from "../Member.ts"
import { LARGEST_MESSAGE } from "../messages.ts"
import { loadWs } from "./library.ts"

export interface Endpoint {
  readonly host: string
  readonly port: number
  readonly token: string
  /** PEM: connect through TLS, to whoever has this very certificate. */
  readonly certificate?: string | undefined
}

/** `denied`: the token is not the coordinator's. */
export class NotConnected extends Error {
  readonly denied: boolean
  constructor(message: string, denied: boolean) {
    super(message)
    this.denied = denied
  }
}

export const connect = async ({ certificate, host, port, token }: Endpoint, timeout: number, signal: AbortSignal): Promise<WebSocket> => {
  const { WebSocket } = await loadWs()
  signal.throwIfAborted()
  const name = host.includes(":") ? `[${host}]` : host
  const tls: ConnectionOptions = certificate === undefined ? {} : { ca: certificate, checkServerIdentity: () => undefined }
  const options: ClientOptions = {
    headers: { authorization: `Bearer ${token}` },
    maxPayload: LARGEST_MESSAGE,
    perMessageDeflate: false,
    handshakeTimeout: timeout,
    followRedirects: false,
    ...(tls as Pick<ClientOptions, "ca">)
  }
  const ws = new WebSocket(`${certificate === undefined ? "ws" : "wss"}://${name}:${port}/`, options)
  return new Promise((resolve, reject) => {
    const abort = (): void => { ws.terminate() }
    signal.addEventListener("abort", abort, { once: true })
    const end = (error: Error): void => {
      signal.removeEventListener("abort", abort)
      reject(error)
    }
    ws.once("open", () => {
      signal.removeEventListener("abort", abort)
      ws.removeAllListeners("error").on("error", () => {})
      resolve(ws)
    })
    ws.once("unexpected-response", (request, { statusCode }) => {
      request.destroy()
      end(new NotConnected(`it answered ${statusCode}`, statusCode === 401))
    })
    ws.on("error", (error: NodeJS.ErrnoException) => end(new NotConnected(error.code || error.message, false)))
  })
}

/** What arrives goes to the member, until the connection ends. */
export const attach = (ws: WebSocket, member: Member): void => {
  let why: string | undefined
  ws.on("message", (data, isBinary) => member.receive(isBinary ? "" : String(data)))
  ws.on("error", (error: NodeJS.ErrnoException) => { why ??= `a connection error (${error.code ?? error.message})` })
  ws.on("close", () => member.closed(why))
}
