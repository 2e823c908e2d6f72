/** Serves bytes by ranges, as the Hub does; every answer can be spoiled. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

export interface RangeServer {
  readonly url: (name: string) => string
  /** `NAME FIRST-LAST` of every request. */
  readonly asked: ReadonlyArray<string>
}

export type Spoil = (response: ServerResponse, request: IncomingMessage, range: { readonly first: number; readonly last: number; readonly bytes: Uint8Array }) => boolean

/** `spoil` answers itself where it returns true. */
export const withRangeServer = async <A>(files: ReadonlyMap<string, Uint8Array>, use: (server: RangeServer) => Promise<A>, spoil: Spoil = () => false): Promise<A> => {
  const asked: Array<string> = []
  const server = createServer((request, response) => {
    response.setHeader("Access-Control-Allow-Origin", "*")
    response.setHeader("Access-Control-Allow-Headers", "Range, Authorization")
    response.setHeader("Access-Control-Expose-Headers", "Content-Range, ETag")
    if (request.method === "OPTIONS") return void response.writeHead(204).end()
    const name = new URL(request.url!, "http://x").pathname.slice(1)
    const bytes = files.get(name)
    if (!bytes) return void response.writeHead(404).end("nothing here")
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? []
    const range = { first: Number(from), last: Math.min(Number(to), bytes.byteLength - 1), bytes }
    asked.push(`${name} ${range.first}-${range.last}`)
    if (spoil(response, request, range)) return
    response.writeHead(206, { "Content-Range": `bytes ${range.first}-${range.last}/${bytes.byteLength}`, ETag: '"1"' })
    response.end(bytes.subarray(range.first, range.last + 1))
  })
  await new Promise<void>((ready) => { server.listen(0, "127.0.0.1", ready) })
  try {
    return await use({ asked, url: (name) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/${name}` })
  } finally {
    server.closeAllConnections()
    await new Promise((closed) => { server.close(closed) })
  }
}
