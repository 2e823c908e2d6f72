/** A process's way to the coordinator. */
import type { WebSocket } from "ws"
import { dial, NotConnected } from "../../websocket/dial.ts"
import type { Member } from "../Member.ts"
import { LARGEST_MESSAGE } from "../messages.ts"

export { NotConnected }

export interface Endpoint {
  readonly host: string
  readonly port: number
  readonly token: string
  /** PEM: connect through TLS, to whoever has this very certificate. */
  readonly certificate?: string | undefined
}

export const connect = ({ certificate, host, port, token }: Endpoint, timeout: number, signal: AbortSignal): Promise<WebSocket> =>
  dial(`${certificate === undefined ? "ws" : "wss"}://${host.includes(":") ? `[${host}]` : host}:${port}/`, { token, certificate, largestMessage: LARGEST_MESSAGE, timeout, signal })

/** What arrives goes to the member, until the connection ends. */
export const attach = (ws: WebSocket, member: Member): void => {
  let why: string | undefined
  ws.on("message", (data, isBinary) => member.receive(isBinary ? "" : String(data)))
  ws.on("error", (error: NodeJS.ErrnoException) => { why ??= `a connection error (${error.code ?? error.message})` })
  ws.on("close", () => member.closed(why))
}
