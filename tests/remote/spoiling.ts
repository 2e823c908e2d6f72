/** A proxy on loopback before a store: it hands everything on, unless a test spoils the answer. */
import { createServer, request as ask } from "node:http"
import type { AddressInfo } from "node:net"
import type { Asked, FakeHub } from "./fakeHub.ts"

/** The same controls as those of the Hub of the tests. */
export type SpoilingProxy = Pick<FakeHub, "endpoint" | "asked" | "spoil" | "close">

/** Before a server on `port` of this machine. */
export const startProxy = async (port: number): Promise<SpoilingProxy> => {
  const proxy: { -readonly [K in keyof SpoilingProxy]: SpoilingProxy[K] } = { endpoint: "", asked: [], spoil: undefined, close: async () => {} }
  const server = createServer((incoming, response) => {
    const { headers, method = "GET", url = "/" } = incoming
    const entry: Asked = { host: "hub", method, url, authorization: headers.authorization, range: headers.range }
    proxy.asked.push(entry)
    const usual = (): void => {
      const onwards = ask({ host: "127.0.0.1", port, method, path: url, headers }, (answer) => {
        const parts: Array<Buffer> = []
        answer.on("data", (part: Buffer) => parts.push(part))
        answer.on("end", () => { response.writeHead(answer.statusCode!, answer.headers).end(Buffer.concat(parts)) })
      })
      onwards.on("error", () => response.destroy())
      incoming.pipe(onwards)
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
