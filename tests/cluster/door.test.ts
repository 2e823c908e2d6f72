/** What the coordinator's port does with strangers, and with members whose bytes are not what they should be. */
import { Effect } from "effect"
import { once } from "node:events"
import { connect as tcp, createServer, type Socket } from "node:net"
import { chmodSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import type { WebSocket } from "ws"
import { Coordinator } from "../../src/cluster/Coordinator.ts"
import { LIMITS } from "../../src/cluster/limits.ts"
import { encode, PROTOCOL } from "../../src/cluster/messages.ts"
import { World } from "../../src/cluster/World.ts"
import { connect, NotConnected } from "../../src/cluster/ws/client.ts"
import { listen } from "../../src/cluster/ws/server.ts"
import { tokenFrom } from "../../src/websocket/token.ts"
import { freePort } from "./harness/proxy.ts"
import { folder, inJob, launch } from "./harness/worlds.ts"

const TOKEN = "a-token-of-sixteen-characters"
const run = { run: "run", attempt: 0 }
const open: Array<() => Promise<void>> = []
afterEach(async () => { for (const close of open.splice(0)) await close() })

const door = async (world = 2) => {
  const coordinator = new Coordinator({ run, world, plan: "plan", version: "1", limits: LIMITS, now: () => performance.now() })
  const listening = await listen(coordinator, { host: "127.0.0.1", port: 0, token: TOKEN, world })
  open.push(listening.close)
  return { coordinator, port: listening.port }
}

/** Everything that is answered to these bytes until the connection ends. */
const answer = async (port: number, request: string): Promise<string> => {
  const socket = tcp(port, "127.0.0.1")
  let text = ""
  socket.on("data", (data) => { text += data })
  socket.write(request)
  await once(socket, "close")
  return text
}

const upgrade = (headers: string) =>
  `GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n${headers}\r\n`

/** A member that has joined, as a bare socket. */
const joined = async (port: number, rank: number): Promise<WebSocket> => {
  const ws = await connect({ host: "127.0.0.1", port, token: TOKEN }, 5000, new AbortController().signal)
  ws.send(encode(run, { is: "hello", protocol: PROTOCOL, version: "1", rank, world: 2, pid: 1, host: "h", plan: "plan", nonce: String(rank) }))
  await once(ws, "message")
  return ws
}

describe("before the upgrade", () => {
  it.each([
    ["no token", "", "401 Unauthorized"],
    ["another token", `Authorization: Bearer ${TOKEN}x\r\n`, "401 Unauthorized"],
    ["the token as a password", `Authorization: Basic ${TOKEN}\r\n`, "401 Unauthorized"],
    ["a browser", `Authorization: Bearer ${TOKEN}\r\nOrigin: http://localhost\r\n`, "403 Forbidden"]
  ])("%s is turned away without a body", async (_, headers, status) => {
    const { port } = await door()
    expect(await answer(port, upgrade(headers))).toBe(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  })

  it("a process is let in without compression, also if it offers some", async () => {
    const { port } = await door()
    const socket = tcp(port, "127.0.0.1")
    socket.write(upgrade(`Authorization: Bearer ${TOKEN}\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n`))
    const [data] = await once(socket, "data") as [Buffer]
    socket.destroy()
    expect(String(data)).toMatch(/^HTTP\/1.1 101 /)
    expect(String(data)).not.toMatch(/extensions/i)
  })

  it("whoever wants no WebSocket is told so", async () => {
    const { port } = await door()
    expect(await answer(port, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).toMatch(/^HTTP\/1.1 426 /)
  })

  it("what is no HTTP ends the connection", async () => {
    const { port } = await door()
    expect(await answer(port, "\u0016\u0003\u0001 hello\r\n\r\n")).toBe("")
  })
})

describe("a member", () => {
  it.each([
    ["a frame of 2 MiB", (ws: WebSocket) => ws.send("x".repeat(2 << 20)), /WS_ERR_UNSUPPORTED_MESSAGE_LENGTH/],
    ["a binary frame", (ws: WebSocket) => ws.send(Buffer.from("{}")), /is no JSON/],
    ["20 000 fragments", (ws: WebSocket) => { for (let i = 0; i < 20_000; i++) ws.send("x", { fin: false }) }, /connection error|connection closed/],
    ["half a frame and an end", (ws: WebSocket) => { const raw = (ws as unknown as { _socket: Socket })._socket; raw.write(Buffer.from([0x81, 0xfe, 0x10])); raw.end() }, /it was lost/],
    ["a broken frame", (ws: WebSocket) => { (ws as unknown as { _socket: Socket })._socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff])) }, /WS_ERR/]
  ] as const)("that sends %s ends the job by its name", async (_, send, problem) => {
    const { coordinator, port } = await door()
    const first = await joined(port, 0)
    const stopped = once(first, "message")
    const second = await joined(port, 1)
    second.on("error", () => {})
    send(second)
    const [data] = await stopped as [Buffer]
    expect(JSON.parse(String(data))).toMatchObject({ is: "stop", failure: { rank: 1, problem: expect.stringMatching(problem) } })
    expect(coordinator.failure?.rank).toBe(1)
    first.terminate()
    second.terminate()
  })

  it("that does not read is given up before its messages fill memory", async () => {
    const { coordinator, port } = await door()
    const first = await joined(port, 0)
    const second = await joined(port, 1)
    ;(second as unknown as { _socket: Socket })._socket.pause()
    const value = "x".repeat(900_000)
    for (let step = 0; coordinator.failure === undefined && step < 200; step++) {
      const key = `g#${step}`
      second.send(encode(run, { is: "step", key, kind: "broadcast", what: "w", members: [[0, 2, 1]], value: null, timeout: 60_000 }))
      first.send(encode(run, { is: "step", key, kind: "broadcast", what: "w", members: [[0, 2, 1]], value, timeout: 60_000 }))
      await once(first, "message")
    }
    expect(coordinator.failure).toMatchObject({ rank: 1, problem: expect.stringContaining("does not read what it is sent") })
    for (const ws of [first, second]) ws.terminate()
  })
})

it("an address that is taken is named, with what to do", async () => {
  const { port } = await door()
  const taken = await Effect.runPromise(inJob(Effect.void, { launch: launch(0, 2), directory: folder(), rendezvous: `127.0.0.1:${port}`, env: { MEGATRON_MIMO_TOKEN: TOKEN } })).catch((error: unknown) => error)
  expect(taken).toMatchObject({ code: "cluster/listen", exitCode: 8, message: expect.stringMatching(/cannot listen on 127\.0\.0\.1 port \d+: EADDRINUSE[^]*--rendezvous file/) })
})

it("the port of torchrun's store is left alone", async () => {
  const refused = await Effect.runPromise(inJob(Effect.void, { launch: launch(0, 2, { takenPort: 29_500 }), directory: folder(), rendezvous: "127.0.0.1:29500" })).catch((error: unknown) => error)
  expect(refused).toMatchObject({ code: "launch/contradiction", message: expect.stringContaining("MASTER_PORT=29500") })
})

describe("a process that looks for its coordinator", () => {
  const patient = { beat: 100, silence: 500, planning: 500, join: 1_000, lease: 1_000, step: 1_000 }
  const seek = (port: number) =>
    Effect.runPromise(inJob(Effect.gen(function*() { return (yield* World).size }), { launch: launch(1, 2), directory: folder(), rendezvous: `127.0.0.1:${port}`, limits: patient, env: { MEGATRON_MIMO_TOKEN: TOKEN } }))
      .catch((error: Error) => error)

  const stranger = async (serve: (socket: Socket) => void): Promise<number> => {
    const server = createServer((socket) => { socket.on("error", () => {}); serve(socket) }).listen(0, "127.0.0.1")
    await once(server, "listening")
    const sockets = new Set<Socket>()
    server.on("connection", (socket) => { sockets.add(socket) })
    open.push(async () => { for (const socket of sockets) socket.destroy(); server.close() })
    return (server.address() as { port: number }).port
  }

  it.each([
    ["nobody listens", freePort],
    ["somebody accepts and says nothing", () => stranger(() => {})],
    ["somebody resets", () => stranger((socket) => { socket.resetAndDestroy() })],
    ["somebody speaks another protocol", () => stranger((socket) => { socket.end("SSH-2.0-x\r\n") })],
    ["somebody sends headers without end", () => stranger((socket) => { socket.write(`HTTP/1.1 101 x\r\nX: ${"y".repeat(100_000)}`) })]
  ])("gives up in time when %s", async (_, port) => {
    expect(await seek(await port())).toMatchObject({ code: "cluster/join", exitCode: 8 })
  })

  it("does not take another certificate, nor send it the token", async () => {
    const { selfSigned } = await import("../../src/websocket/certificate.ts")
    const [mine, theirs] = [await selfSigned(), await selfSigned()]
    const coordinator = new Coordinator({ run, world: 2, plan: "plan", version: "1", limits: LIMITS, now: () => performance.now() })
    const listening = await listen(coordinator, { host: "127.0.0.1", port: 0, token: TOKEN, world: 2, certificate: theirs })
    open.push(listening.close)
    const at = { host: "127.0.0.1", port: listening.port, token: TOKEN }
    await expect(connect({ ...at, certificate: mine.cert }, 2000, new AbortController().signal)).rejects.toBeInstanceOf(NotConnected)
    const ws = await connect({ ...at, certificate: theirs.cert }, 2000, new AbortController().signal)
    ws.terminate()
  })
})

describe("through TLS with a certificate of the user's", () => {
  it("processes meet at an address; without its key, or where a file cannot be read, the variable is named", async () => {
    const { selfSigned } = await import("../../src/websocket/certificate.ts")
    const { cert, key } = await selfSigned()
    const directory = folder()
    const [certPath, keyPath] = [join(directory, "cert.pem"), join(directory, "key.pem")]
    writeFileSync(certPath, cert)
    writeFileSync(keyPath, key)
    const port = await freePort()
    const join2 = (rank: number, env: Record<string, string>) =>
      Effect.runPromise(inJob(Effect.flatMap(World, (world) => Effect.as(world.barrier("here"), world.size)), { launch: launch(rank, 2), directory, rendezvous: `tls+127.0.0.1:${port}`, env: { MEGATRON_MIMO_TOKEN: TOKEN, ...env } }))
    const certificate = { MEGATRON_MIMO_TLS_CERT: certPath }
    expect(await Promise.all([join2(0, { ...certificate, MEGATRON_MIMO_TLS_KEY: keyPath }), join2(1, certificate)])).toEqual([2, 2])
    await expect(join2(0, certificate)).rejects.toMatchObject({ code: "launch/tls", message: expect.stringContaining("MEGATRON_MIMO_TLS_KEY") })
    await expect(join2(1, { MEGATRON_MIMO_TLS_CERT: join(directory, "none") })).rejects.toMatchObject({ code: "launch/tls", message: expect.stringContaining("ENOENT") })
  })
})

describe("the token", () => {
  it("comes from a variable, or from a file that nobody else can read", () => {
    const path = join(folder(), "token")
    writeFileSync(path, `${TOKEN}\n`, { mode: 0o600 })
    expect(tokenFrom({ MEGATRON_MIMO_TOKEN_FILE: path })).toBe(TOKEN)
    expect(tokenFrom({ MEGATRON_MIMO_TOKEN: TOKEN, MEGATRON_MIMO_TOKEN_FILE: `${path}-absent` })).toBe(TOKEN)
    chmodSync(path, 0o640)
    expect(() => tokenFrom({ MEGATRON_MIMO_TOKEN_FILE: path })).toThrow("others can read the token")
    expect(() => tokenFrom({ MEGATRON_MIMO_TOKEN_FILE: `${path}-absent` })).toThrow("ENOENT")
  })

  it.each([[{}, "needs a secret"], [{ MEGATRON_MIMO_TOKEN: "short" }, "is not one of 16 to 4096"], [{ MEGATRON_MIMO_TOKEN: `${TOKEN}\r\nX: y` }, "printable"]])("%j is refused", (env, message) => {
    expect(() => tokenFrom(env)).toThrow(message)
  })
})
