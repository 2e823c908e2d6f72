/** A server of weights and its consumers, over real sockets. */
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs"
import { type AddressInfo, connect as tcp } from "node:net"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { afterEach, beforeAll, describe, expect, it } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { connectWeights, exportCheckpoint, importCheckpoint, type Listening, streamServedWeights, type ReceivedWeight, type ServeReport, type ServeRequest, serveWeights, writeSampleModel } from "../../src/index.ts"
import { Disk } from "../../src/io/Disk.ts"
import { toAsyncIterable } from "../../src/io/attempt.ts"
import { LARGEST_FRAME, STREAM_PROTOCOL } from "../../src/serve/protocol.ts"
import { proxyTo } from "../cluster/harness/proxy.ts"
import { workFolder } from "../hostile/run.ts"

const token = "a-token-of-sixteen-characters"
const work = workFolder("serve")
const [hf, megatron, back] = ["hf", "megatron", "back"].map((name) => join(work, name)) as [string, string, string]

beforeAll(async () => {
  await writeSampleModel(hf, { model: "qwen3.5-vl" })
  await importCheckpoint({ hfModel: hf, components: ["language=tp=2,pp=2", "images=tp=1"] }, megatron)
  await exportCheckpoint({ hfModel: hf }, megatron, back)
})

const stops: Array<() => Promise<unknown>> = []
afterEach(async () => { for (const stop of stops.splice(0)) await stop() })

const serving = async (path: string, request: ServeRequest = {}) => {
  const abort = new AbortController()
  let heard: (listening: Listening) => void
  const listening = new Promise<Listening>((resolve) => { heard = resolve })
  const report = Effect.runPromise(serveWeights(path, { hfModel: hf, token, gather: 50, ...request, onListening: (at) => heard(at) }).pipe(Effect.provide(Disk.layer)), { signal: abort.signal })
  report.catch(() => {})
  stops.push(() => {
    abort.abort()
    return report.catch(() => {})
  })
  const at = await Promise.race([listening, report.then((): never => { throw new Error("it ended") })])
  return { ...at, port: Number(new URL(at.url).port), report: report as Promise<ServeReport> }
}

type Collected = Map<string, Buffer>

const collect = async (pieces: AsyncIterable<ReceivedWeight>, into: Collected = new Map()): Promise<Collected> => {
  for await (const { bytes, name, offset } of pieces) {
    const known = into.get(name) ?? Buffer.alloc(0)
    expect(known.byteLength, name).toBe(offset)
    into.set(name, Buffer.concat([known, bytes]))
  }
  return into
}

/** Name → bytes of what is in a directory. */
const stored = (directory: string): Collected => {
  const tensors: Collected = new Map()
  for (const file of readdirSync(directory).filter((name) => name.endsWith(".safetensors"))) {
    const bytes = readFileSync(join(directory, file))
    const length = Number(bytes.readBigUInt64LE(0))
    for (const [name, entry] of Object.entries(JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, { data_offsets: [number, number] }>)) {
      if (name !== "__metadata__") tensors.set(name, bytes.subarray(8 + length + entry.data_offsets[0], 8 + length + entry.data_offsets[1]))
    }
  }
  return tensors
}

/** A file of random bytes, by name and size. */
const writeTensors = (directory: string, sizes: Readonly<Record<string, number>>): void => {
  let at = 0
  const header = Buffer.from(JSON.stringify(Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, { dtype: "U8", shape: [size], data_offsets: [at, at += size] }]))))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.byteLength))
  writeFileSync(join(directory, "model.safetensors"), Buffer.concat([length, header, randomBytes(at)]))
}

const same = (a: Collected, b: Collected): void => {
  expect([...a.keys()].sort()).toEqual([...b.keys()].sort())
  for (const [name, bytes] of a) expect(bytes.equals(b.get(name)!), name).toBe(true)
}

/** A consumer that speaks for itself. */
const raw = async (url: string, secret = token) => {
  const ws = new WebSocket(url, { headers: { authorization: `Bearer ${secret}` }, perMessageDeflate: false })
  await once(ws, "open")
  ws.on("error", () => {})
  stops.push(async () => ws.terminate())
  return ws
}
const open = (more: object = {}): string => JSON.stringify({ type: "open", protocol: STREAM_PROTOCOL, credit: LARGEST_FRAME, ...more })
const closed = async (ws: WebSocket): Promise<number> => (await once(ws, "close"))[0] as number

it("what arrives is what an export writes", async () => {
  const { report, url } = await serving(megatron, { consumers: 1 })
  const got = await collect(streamServedWeights(url, { token }))
  same(got, stored(back))
  expect(await report).toMatchObject({ complete: 1, broken: 0, bytesRead: [...got.values()].reduce((sum, { byteLength }) => sum + byteLength, 0) })
})

it("a Hugging Face directory is streamed as it is; as an Effect stream, too", async () => {
  const { url } = await serving(hf)
  same(await collect(toAsyncIterable(connectWeights(url, { token }))), stored(hf))
})

it("consumers that come together share one reading", async () => {
  const { bytes, report, url } = await serving(megatron, { consumers: 8, gather: 20_000 })
  const all = await Promise.all(Array.from({ length: 8 }, () => collect(streamServedWeights(url, { token }))))
  for (const got of all) same(got, stored(back))
  expect(await report).toMatchObject({ complete: 8, bytesRead: bytes, bytesSent: 8 * bytes })
})

it("a component, names that match, and a rank's part", async () => {
  const { url } = await serving(megatron)
  const whole = stored(back)
  const images = await collect(streamServedWeights(url, { token, components: ["images"] }))
  expect([...images.keys()].every((name) => name.includes("visual"))).toBe(true)
  expect(images.size).toBeGreaterThan(5)
  const norms = await collect(streamServedWeights(url, { token, tensors: ["*norm*"] }))
  expect([...norms.keys()].sort()).toEqual([...whole.keys()].filter((name) => name.includes("norm")).sort())
  const parts = await Promise.all([0, 1].map((rank) => collect(streamServedWeights(url, { token, tensors: ["*down_proj.weight", "*gate_proj.weight"], shard: { tp: 2, rank } }))))
  for (const name of parts[0]!.keys()) {
    const all = whole.get(name)!
    // BF16; down_proj is cut by columns, gate_proj by rows.
    const halves = parts.map((part) => part.get(name)!)
    if (name.includes("gate")) expect(Buffer.concat(halves).equals(all), name).toBe(true)
    else {
      const width = 2 * 152
      const rows = Array.from({ length: all.byteLength / width }, (_, row) => halves.map((half) => half.subarray(row * (width / 2), (row + 1) * (width / 2)))).flat()
      expect(Buffer.concat(rows).equals(all), name).toBe(true)
    }
  }
})

it("goes on after a cut where it was, also in the middle of a tensor", async () => {
  const big = join(work, "big")
  mkdirSync(big)
  writeTensors(big, { first: 5e6, empty: 0, second: 3e6 + 7, third: 12 })
  const { port } = await serving(big, { gather: 10 })
  const proxy = await proxyTo(port)
  stops.push(async () => proxy.close())
  let cuts = 0
  const got: Collected = new Map()
  let bytes = 0
  for await (const piece of streamServedWeights(`ws://127.0.0.1:${proxy.port}/`, { token, window: LARGEST_FRAME })) {
    const known = got.get(piece.name) ?? Buffer.alloc(0)
    expect(known.byteLength, piece.name).toBe(piece.offset)
    got.set(piece.name, Buffer.concat([known, piece.bytes]))
    bytes += piece.bytes.byteLength
    if (cuts < 3 && bytes > (cuts + 1) * 1_900_000) {
      cuts++
      proxy.cut()
    }
  }
  expect(cuts).toBe(3)
  same(got, stored(big))
}, 60_000)

it("a consumer that takes nothing keeps nobody else waiting", async () => {
  const { url } = await serving(megatron, { gather: 200 })
  const stalled = await Promise.all(Array.from({ length: 6 }, () => raw(url)))
  for (const ws of stalled) {
    ws.send(open())
    ws.pause()
  }
  same(await collect(streamServedWeights(url, { token })), stored(back))
}, 30_000)

describe("is refused", () => {
  it.each([
    ["another token", { token: "another-token-of-characters" }, "stream/token"],
    ["an unknown component", { token, components: ["sounds"] }, "stream/component"],
    ["a pattern that matches nothing", { token, tensors: ["nothing*"] }, "stream/tensors"],
    ["a shard that does not divide the model", { token, shard: { tp: 7, rank: 0 } }, "stream/shard"]
  ])("%s", async (_, request, code) => {
    const { url } = await serving(megatron)
    await expect(collect(streamServedWeights(url, request))).rejects.toMatchObject({ _tag: "StreamRefused", code })
  })

  it("a shard of a directory whose parameters are not known", async () => {
    const { url } = await serving(hf)
    await expect(collect(streamServedWeights(url, { token, shard: { tp: 2, rank: 0 } }))).rejects.toMatchObject({ code: "stream/shard" })
  })

  it("other weights than those that the server was started with", async () => {
    const changing = join(work, "changing")
    await writeSampleModel(changing, { model: "qwen3.5-vl" })
    const { url } = await serving(changing)
    const file = join(changing, readdirSync(changing).find((name) => name.endsWith(".safetensors"))!)
    writeFileSync(file, readFileSync(file))
    utimesSync(file, 1, 1)
    await expect(collect(streamServedWeights(url, { token }))).rejects.toMatchObject({ _tag: "StreamRefused", code: "stream/changed" })
  })

  it("a name that no frame has room for", async () => {
    const long = join(work, "long")
    mkdirSync(long)
    writeTensors(long, { ["x".repeat(5000)]: 4 })
    const { url } = await serving(long)
    await expect(collect(streamServedWeights(url, { token }))).rejects.toMatchObject({ _tag: "StreamRefused", code: "stream/name" })
  })

  it.each([
    ["refuses what it is asked", JSON.stringify({ type: "error", code: "malformed", message: "what?" }), { _tag: "StreamRefused", code: "stream/protocol" }],
    ["says what nobody knows", "hello", { _tag: "StreamBroken", code: "stream/broken" }],
    ["sends weights before it announces any", Buffer.alloc(100), { _tag: "StreamBroken", code: "stream/broken" }]
  ])("by the client, a server that %s", async (_, answer, error) => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" })
    stops.push(async () => server.close())
    server.on("connection", (ws) => ws.on("message", () => ws.send(answer)))
    await once(server, "listening")
    await expect(collect(streamServedWeights(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/`, { token, retries: 0 }))).rejects.toMatchObject(error)
  })

  it("a resumption of another stream", async () => {
    const { url } = await serving(megatron)
    const ws = await raw(url)
    ws.send(open({ resume: { identity: "0".repeat(64), tensor: "x", offset: 0 } }))
    expect(await closed(ws)).toBe(4409)
  })

  it("an address that is none, a number of consumers that is none", async () => {
    const effect = (request: ServeRequest) => Effect.runPromise(serveWeights(hf, { token, ...request }).pipe(Effect.provide(Disk.layer)))
    await expect(effect({ listen: "nowhere" })).rejects.toMatchObject({ code: "usage/flags" })
    await expect(effect({ consumers: 0 })).rejects.toMatchObject({ code: "usage/flags" })
    await expect(effect({ token: "short" })).rejects.toMatchObject({ _tag: "LaunchError", code: "launch/token" })
    const { port } = await serving(hf)
    await expect(effect({ listen: `127.0.0.1:${port}` })).rejects.toMatchObject({ _tag: "LaunchError", code: "launch/listen" })
  })
})

describe("a hostile consumer is closed, and honest ones are served", () => {
  const honest = async (url: string) => same(await collect(streamServedWeights(url, { token })), stored(back))

  it.each([
    ["binary", Buffer.alloc(10), 4400],
    ["no JSON", "{", 4400],
    ["an unknown word", JSON.stringify({ type: "please" }), 4400],
    ["unknown fields", open({ more: 1 }), 4400],
    ["credit before anything", JSON.stringify({ type: "credit", bytes: 1 }), 4400],
    ["too little credit", open({ credit: 1 }), 4400],
    ["a rank outside", open({ shard: { tp: 2, rank: 2 } }), 4400],
    ["a message that is too long", "x".repeat(65 << 10), 1009]
  ])("%s", async (_, message, code) => {
    const { url } = await serving(megatron)
    const ws = await raw(url)
    ws.send(message)
    expect(await closed(ws)).toBe(code)
    await honest(url)
  })

  it("open twice; a flood of credit", async () => {
    const { url } = await serving(megatron, { gather: 2000 })
    const [twice, flood] = [await raw(url), await raw(url)]
    twice.send(open())
    twice.send(open())
    flood.send(open())
    for (let i = 0; i < 1000; i++) flood.send(JSON.stringify({ type: "credit", bytes: 1 }))
    expect(await Promise.all([closed(twice), closed(flood)])).toEqual([4400, 4429])
    await honest(url)
  })

  it("10 000 parts of one message", async () => {
    const { url } = await serving(megatron)
    const ws = await raw(url)
    for (let i = 0; i < 10_000; i++) ws.send("x", { fin: false })
    expect(await closed(ws)).toBeGreaterThanOrEqual(1002)
    await honest(url)
  })

  it("a browser, and bytes that are no HTTP", async () => {
    const { port, url } = await serving(megatron)
    const socket = tcp(port, "127.0.0.1")
    socket.on("error", () => {})
    socket.write("\0\0\0\0 nonsense\r\n\r\n")
    await once(socket, "close")
    const browser = new WebSocket(url, { headers: { authorization: `Bearer ${token}`, origin: "http://localhost" } })
    const [, response] = (await once(browser, "unexpected-response")) as [unknown, { statusCode: number }]
    expect(response.statusCode).toBe(403)
    browser.on("error", () => {})
    browser.terminate()
    await honest(url)
  })

  it("500 connections", async () => {
    const { url } = await serving(megatron)
    const sockets = Array.from({ length: 500 }, () => new WebSocket(url, { headers: { authorization: `Bearer ${token}` } }))
    for (const ws of sockets) ws.on("error", () => {})
    await Promise.all(sockets.map((ws) => Promise.race([once(ws, "open"), once(ws, "close"), once(ws, "error"), pause(5000)])))
    const open = sockets.filter(({ readyState }) => readyState === WebSocket.OPEN).length
    expect(open).toBeLessThanOrEqual(320)
    for (const ws of sockets) ws.terminate()
    await pause(50)
    await honest(url)
  }, 30_000)
})
