/** A plain web server on loopback: files by path, whole or by ranges. */
import { createHash } from "node:crypto"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { sendBytes } from "./fakeHub.ts"

export interface Web {
  readonly address: string
  readonly close: () => Promise<void>
}

/** `files`: by path, without the first slash. */
export const startWeb = async (files: ReadonlyMap<string, Uint8Array>): Promise<Web> => {
  const server = createServer(({ headers, method, url = "/" }, response) => {
    const bytes = files.get(decodeURIComponent(new URL(url, "http://web").pathname.slice(1)))
    if (bytes === undefined) return response.writeHead(404).end()
    const etag = `"${createHash("sha256").update(bytes).digest("hex")}"`
    if (method === "HEAD") return response.writeHead(200, { etag, "accept-ranges": "bytes", "content-length": bytes.byteLength }).end()
    return sendBytes(response, bytes, headers.range, { etag })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}
