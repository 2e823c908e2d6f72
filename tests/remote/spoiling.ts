/** A proxy on loopback before a store: it hands everything on, unless a test spoils the answer. */
import { createServer, type IncomingHttpHeaders, request as ask } from "node:http"
import type { AddressInfo } from "node:net"
import type { Asked, FakeHub } from "./fakeHub.ts"

/** The same controls as those of the Hub of the tests. */
export type SpoilingProxy = Pick<FakeHub, "endpoint" | "asked" | "spoil" | "close">

export interface Passed {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface Returned {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** What a store lacks: answers itself, or passes on. */
export type Addition = (passed: Passed, onwards: (passed: Passed) => Promise<Returned>) => Promise<Returned>

/** Before a server on `port` of this machine. */
export const startProxy = async (port: number, addition: Addition = (passed, onwards) => onwards(passed)): Promise<SpoilingProxy> => {
  const proxy: { -readonly [K in keyof SpoilingProxy]: SpoilingProxy[K] } = { endpoint: "", asked: [], spoil: undefined, close: async () => {} }
  const onwards = ({ body, headers, method, url }: Passed): Promise<Returned> =>
    new Promise((resolve, reject) => {
      const request = ask({ host: "127.0.0.1", port, method, path: url, headers }, (answer) => {
        const parts: Array<Buffer> = []
        answer.on("data", (part: Buffer) => parts.push(part))
        answer.on("end", () => { resolve({ status: answer.statusCode!, headers: answer.headers, body: Buffer.concat(parts) }) })
      })
      request.on("error", reject)
      request.end(body)
    })
  const server = createServer((incoming, response) => {
    const { headers, method = "GET", url = "/" } = incoming
    const entry: Asked = { host: "hub", method, url, authorization: headers.authorization, range: headers.range }
    proxy.asked.push(entry)
    const usual = (): void => {
      const parts: Array<Buffer> = []
      incoming.on("data", (part: Buffer) => parts.push(part))
      incoming.on("end", () => {
        addition({ method, url, headers, body: Buffer.concat(parts) }, onwards).then(
          ({ body, headers: said, status }) => { response.writeHead(status, said).end(body) },
          () => { response.destroy() }
        )
      })
    }
    if (!proxy.spoil?.(entry, response, usual)) usual()
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  proxy.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  proxy.close = async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return proxy
}
