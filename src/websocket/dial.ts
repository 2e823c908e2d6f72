/** A WebSocket to a port that knows our token. */
import type { ConnectionOptions } from "node:tls"
import type { ClientOptions, WebSocket } from "ws"
import { loadWs } from "./library.ts"

/** `denied`: the token is not the other side's. */
export class NotConnected extends Error {
  readonly denied: boolean
  constructor(message: string, denied: boolean) {
    super(message)
    this.denied = denied
  }
}

export interface DialOptions {
  readonly token: string
  /** PEM: whom to trust, by being the very one, whatever its name. Absent: whom the system trusts. */
  readonly certificate?: string | undefined
  /** Bytes of the largest message that is taken. */
  readonly largestMessage: number
  /** Milliseconds. */
  readonly timeout: number
  readonly signal: AbortSignal
}

/** @throws NotConnected */
export const dial = async (url: string, { certificate, largestMessage, signal, timeout, token }: DialOptions): Promise<WebSocket> => {
  const { WebSocket } = await loadWs()
  signal.throwIfAborted()
  const tls: ConnectionOptions = certificate === undefined ? {} : { ca: certificate, checkServerIdentity: () => undefined }
  const options: ClientOptions = {
    headers: { authorization: `Bearer ${token}` },
    maxPayload: largestMessage,
    perMessageDeflate: false,
    handshakeTimeout: timeout,
    followRedirects: false,
    ...(tls as Pick<ClientOptions, "ca">)
  }
  const ws = new WebSocket(url, options)
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
