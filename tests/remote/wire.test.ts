/** A connection that reads bodies straight to where they are wanted: what it makes of an answer, however that is cut into packets. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from "node:tls"
import { afterEach, describe, expect, it } from "vitest"
import { Overlong } from "../../src/remote/http/Answer.ts"
import { networkFailure } from "../../src/remote/http/failures.ts"
import { parseHead } from "../../src/remote/http/head.ts"
import { Wires } from "../../src/remote/http/Wires.ts"

const head = (text: string) => parseHead(Buffer.from(`${text.replaceAll("\n", "\r\n")}\r\n\r\n`))

describe("the head of an answer", () => {
  it("is a status, headers by small letters, and how long the body is", () => {
    const { headers, lasting, length, status } = head("HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-3/9\nETag:  \"a b\"\t\nContent-Length: 4")
    expect([status, length, lasting]).toEqual([206, 4, true])
    expect([...headers]).toEqual([["content-range", "bytes 0-3/9"], ["etag", '"a b"'], ["content-length", "4"]])
  })

  it("has no length where the body itself tells it, and none to come where there is none", () => {
    expect(head("HTTP/1.1 200 OK\nTransfer-Encoding: chunked").length).toBeUndefined()
    expect(head("HTTP/1.0 200 OK")).toMatchObject({ length: undefined, lasting: false })
    expect(head("HTTP/1.1 304 Not Modified\ncontent-length: 7\nConnection: Close")).toMatchObject({ length: 0, lasting: false })
  })

  it.each([
    "ICY 200 OK", "HTTP/2 200", "HTTP/1.1 20", "HTTP/1.1 200 OK\nno colon", "HTTP/1.1 200 OK\n: nameless", "HTTP/1.1 200 OK\na b: c", "HTTP/1.1 200 OK\na: b\n folded: c",
    "HTTP/1.1 200 OK\na: b\u0000c", "HTTP/1.1 200 OK\ncontent-length: -1", "HTTP/1.1 200 OK\ncontent-length: 1e3", "HTTP/1.1 200 OK\ncontent-length: 1\ncontent-length: 2",
    "HTTP/1.1 200 OK\ncontent-length: 1\ntransfer-encoding: chunked", `HTTP/1.1 200 OK\ncontent-length: ${"9".repeat(16)}`
  ])("that may be read in two ways, or in none, is refused: %j", (text) => {
    expect(() => head(text)).toThrow(expect.objectContaining({ code: "HPE_INVALID_HEAD" }))
  })
})

describe("a wire", () => {
  let server: Server
  const sockets = new Set<Socket>()
  /** Answers every request with `answer`. */
  const serve = async (answer: (socket: Socket, request: string) => void, tls?: { readonly cert: string; readonly key: string }): Promise<URL> => {
    const serving = (socket: Socket): void => {
      sockets.add(socket)
      socket.on("error", () => {})
      let text = ""
      socket.on("data", (part) => {
        text += part.toString("latin1")
        for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
          const request = text.slice(0, end)
          text = text.slice(end + 4)
          answer(socket, request)
        }
      })
    }
    server = tls ? createTlsServer(tls, serving) : createServer(serving)
    const host = tls ? "localhost" : "127.0.0.1"
    await new Promise<void>((resolve) => server.listen(0, host, resolve))
    return new URL(`${tls ? "https" : "http"}://${host}:${(server.address() as AddressInfo).port}/a/b?c=d`)
  }
  afterEach(async () => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
    await new Promise((resolve) => server.close(resolve))
  })
  const body = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => i * 7 + (i >> 8)))
  const whole = Buffer.concat([Buffer.from(`HTTP/1.1 206 Partial Content\r\ncontent-length: ${body.byteLength}\r\n\r\n`), body])
  const filled = async (wires: Wires, url: URL, into = new Uint8Array(new SharedArrayBuffer(body.byteLength + 20))): Promise<Uint8Array> => {
    const answer = await wires.ask(url, { range: "bytes=0-299999" })
    let bytes = 0
    await answer!.fill(into.subarray(10, 10 + body.byteLength), (n) => { bytes += n })
    expect(bytes).toBe(body.byteLength)
    return into
  }

  it("puts the body where it is wanted and nowhere else, request after request over one connection", async () => {
    const requests: Array<string> = []
    const url = await serve((socket, request) => {
      requests.push(request)
      socket.write(whole)
    })
    const wires = new Wires(1000)
    for (let i = 0; i < 3; i++) {
      const into = await filled(wires, url)
      expect(Buffer.from(into.subarray(10, -10)).equals(body)).toBe(true)
      expect([...into.subarray(0, 10), ...into.subarray(-10)].every((byte) => byte === 0)).toBe(true)
    }
    expect(sockets.size).toBe(1)
    expect(requests[0]).toBe(`GET /a/b?c=d HTTP/1.1\r\nhost: ${url.host}\r\nconnection: keep-alive\r\nrange: bytes=0-299999`)
  })

  it("does the same through TLS, with a server whose certificate is accepted, and with no other", async () => {
    const folder = mkdtempSync(join(tmpdir(), "wire-"))
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")]
    execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], { stdio: "ignore" })
    const own = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") }
    rmSync(folder, { recursive: true })
    const url = await serve((socket) => { socket.write(whole) }, own)
    const refused = await new Wires(1000).ask(url, {}).catch((error: unknown) => networkFailure("hf://a/b", error))
    expect(refused).toMatchObject({ code: "io/ETLS" })
    const usual = getCACertificates("default")
    setDefaultCACertificates([...usual, own.cert])
    try {
      sockets.clear()
      const wires = new Wires(1000)
      for (let i = 0; i < 3; i++) {
        const into = await filled(wires, url)
        expect(Buffer.from(into.subarray(10, -10)).equals(body)).toBe(true)
        expect([...into.subarray(0, 10), ...into.subarray(-10)].every((byte) => byte === 0)).toBe(true)
      }
      expect(sockets.size).toBe(1)
    } finally {
      setDefaultCACertificates(usual)
    }
  })

  it.each([1, 7, 40, 64, 65_536])("takes an answer that begins in a packet of %i bytes, after something said in between", async (first) => {
    const all = Buffer.concat([Buffer.from("HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n"), whole])
    const url = await serve((socket) => {
      socket.setNoDelay(true)
      socket.write(all.subarray(0, first), () => setTimeout(() => socket.write(all.subarray(first)), 5))
    })
    const into = await filled(new Wires(1000), url)
    expect(Buffer.from(into.subarray(10, -10)).equals(body)).toBe(true)
  })

  it("fills small pieces of memory that others have a part of, too", async () => {
    const url = await serve((socket) => { socket.write(Buffer.concat([Buffer.from("HTTP/1.1 206 OK\r\ncontent-length: 400\r\n\r\n"), body.subarray(0, 400)])) })
    const wires = new Wires(1000)
    for (let i = 0; i < 20; i++) {
      // Of the pool that Node takes small buffers from.
      const into = Buffer.allocUnsafe(400).fill(0)
      await (await wires.ask(url, {}))!.fill(into, () => {})
      expect(into.equals(body.subarray(0, 400))).toBe(true)
    }
  })

  it("gives up where the length is not said, and does not lead there again", async () => {
    const url = await serve((socket) => { socket.write("HTTP/1.1 206 Partial Content\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n") })
    const wires = new Wires(1000)
    expect(wires.lead(url)).toBe(true)
    expect(await wires.ask(url, {})).toBeUndefined()
    expect(wires.lead(url)).toBe(false)
  })

  it("takes no more than there is room for, and no connection on which more came than was announced", async () => {
    const url = await serve((socket) => { socket.write(Buffer.concat([whole, Buffer.from("more")])) })
    const wires = new Wires(1000)
    await expect((await wires.ask(url, {}))!.fill(new Uint8Array(10), () => {})).rejects.toThrow(Overlong)
    await filled(wires, url)
    await sleep(20)
    await filled(wires, url)
    expect(sockets.size).toBe(3)
  })

  it.each([
    ["ends in the middle", (socket: Socket) => socket.end(whole.subarray(0, 1000)), "ECONNRESET"],
    ["stalls in the middle", (socket: Socket) => socket.write(whole.subarray(0, 1000)), "ETIMEDOUT"],
    ["has no end of its head", (socket: Socket) => socket.write(`HTTP/1.1 206 OK\r\na: ${"x".repeat(70_000)}`), "HPE_HEADER_OVERFLOW"],
    ["is none", (socket: Socket) => socket.write("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "HPE_INVALID_HEAD"]
  ])("rejects when an answer %s, and writes nothing after that", async (_, answer, code) => {
    const url = await serve(answer)
    await expect(filled(new Wires(100), url)).rejects.toMatchObject({ code })
  })

  it("ends at once when its time is over", async () => {
    const url = await serve((socket) => { socket.write(whole.subarray(0, 1000)) })
    const stop = new AbortController()
    const answer = await new Wires(10_000).ask(url, {}, stop.signal)
    const ending = answer!.fill(new Uint8Array(body.byteLength), () => stop.abort())
    await expect(ending).rejects.toMatchObject({ code: "ETIMEDOUT" })
  })

  it("sends no header that is two", async () => {
    const url = await serve(() => {})
    await expect(new Wires(1000).ask(url, { range: "bytes=0-1\r\nx: y" })).rejects.toThrow("control characters")
  })
})
