/** A TCP proxy with faults, between one process and the coordinator. */
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"

export interface Proxy {
  readonly port: number
  /** Both ends are told. */
  readonly cut: () => void
  /** A reset instead of an end. */
  readonly reset: () => void
  /** Nothing passes any more, and nobody is told. */
  readonly swallow: () => void
  /** Milliseconds for every piece from now on. */
  readonly delay: (milliseconds: number) => void
  readonly close: () => void
}

export const proxyTo = async (port: number): Promise<Proxy> => {
  const pairs = new Set<readonly [Socket, Socket]>()
  let swallowed = false
  let pause = 0
  const forward = (from: Socket, to: Socket): void => {
    let last = Promise.resolve()
    from.on("data", (data) => {
      if (swallowed) return
      if (pause === 0) return void to.write(data)
      last = last.then(() => new Promise((resolve) => setTimeout(resolve, pause))).then(() => { if (!swallowed) to.write(data) })
    })
    from.on("end", () => { void last.then(() => { if (!swallowed) to.end() }) })
    from.on("close", () => { if (!swallowed) to.destroy() })
    from.on("error", () => {})
  }
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ port, host: "127.0.0.1", allowHalfOpen: true })
    pairs.add([client, upstream])
    forward(client, upstream)
    forward(upstream, client)
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const each = (use: (socket: Socket) => void): void => { for (const pair of pairs) for (const socket of pair) use(socket) }
  return {
    port: (server.address() as AddressInfo).port,
    cut: () => each((socket) => socket.destroy()),
    reset: () => each((socket) => socket.resetAndDestroy()),
    swallow: () => { swallowed = true },
    delay: (milliseconds) => { pause = milliseconds },
    close: () => {
      swallowed = true
      each((socket) => socket.destroy())
      server.close()
    }
  }
}

/** A port that was free a moment ago. */
export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
}
