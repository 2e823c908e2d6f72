/** Headers and tensors read by ranges: from memory, from a Blob, from a server that may be anything. */
import { describe, expect, it } from "vitest"
import { type ByteSource, encodeHeader, FormatError, fromBlob, fromBytes, fromUrl, readHeader, readTensorBytes } from "../../src/safetensors/index.ts"
import { type Spoil, withRangeServer } from "./rangeServer.ts"

const fileOf = (tensors: number): Uint8Array<ArrayBuffer> => {
  const header = encodeHeader(Array.from({ length: tensors }, (_, i) => ({ name: `layers.${i}.weight`, dtype: "F32" as const, shape: [3] })), new Map([["format", "pt"]]))
  const bytes = new Uint8Array(header.fileSize)
  bytes.set(header.headerBytes)
  const values = new DataView(bytes.buffer, header.dataStart)
  for (let i = 0; i < tensors * 3; i++) values.setFloat32(4 * i, i, true)
  return bytes
}
const small = fileOf(5)
const large = fileOf(2000)

const rejected = (promise: Promise<unknown>) => promise.then(() => expect.unreachable(), (error: unknown) => error)

describe("one file, the same from everywhere", () => {
  const check = async (source: ByteSource, tensors: number) => {
    const header = await readHeader(source)
    expect([header.tensors.length, header.metadata]).toEqual([tensors, new Map([["format", "pt"]])])
    const last = header.tensors.at(-1)!
    const bytes = await readTensorBytes(source, last)
    expect([...new Float32Array(bytes.buffer)]).toEqual([0, 1, 2].map((k) => (tensors - 1) * 3 + k))
  }
  it.each([["small", small, 5], ["large", large, 2000]] as const)("%s", async (name, bytes, tensors) => {
    expect(bytes.byteLength > 1 << 16).toBe(name === "large")
    await check(fromBytes(bytes), tensors)
    await check(fromBlob(new Blob([bytes])), tensors)
    await withRangeServer(new Map([["x", bytes]]), async ({ url }) => check(await fromUrl(url("x")), tensors))
  })
})

it("a server is asked once for a small header, twice for a large one, and for no more than a tensor needs", () =>
  withRangeServer(new Map([["s", small], ["l", large]]), async ({ asked, url }) => {
    await readHeader(await fromUrl(url("s")))
    const source = await fromUrl(url("l"))
    const { dataStart, tensors } = await readHeader(source)
    await readTensorBytes(source, tensors[7]!)
    const at = dataStart + 7 * 12
    expect(asked).toEqual([`s 0-${small.byteLength - 1}`, "l 0-65535", `l 65536-${dataStart - 1}`, `l ${at}-${at + 11}`])
  }))

it("headers of the caller are sent, a fetch of the caller is used", () =>
  withRangeServer(new Map([["x", small]]), async ({ url }) => {
    let sent: RequestInit["headers"]
    await fromUrl(url("x"), { headers: { Authorization: "Bearer t" }, fetch: (input, init) => { sent = init?.headers; return fetch(input, init) } })
    expect(sent).toEqual({ Authorization: "Bearer t", Range: "bytes=0-65535" })
  }))

describe("a server that", () => {
  const spoiled: ReadonlyArray<readonly [string, string, Spoil]> = [
    ["sends everything", "remote/no-ranges", (response) => { response.writeHead(200).end(Buffer.alloc(1 << 20)); return true }],
    ["is in trouble", "remote/status", (response) => { response.writeHead(503).end("later"); return true }],
    ["does not say the size", "remote/no-size", (response) => { response.writeHead(206, { "Content-Range": "bytes 0-9/*" }).end("0123456789"); return true }],
    ["sends another range", "remote/range", (response, _, { bytes }) => { response.writeHead(206, { "Content-Range": `bytes 1-9/${bytes.length}` }).end(bytes.subarray(1, 10)); return true }],
    ["sends too little", "remote/short", (response, _, { bytes, first, last }) => { response.writeHead(206, { "Content-Range": `bytes ${first}-${last}/${bytes.length}` }).end(bytes.subarray(first, last)); return true }],
    ["sends too much", "remote/short", (response, _, { bytes, first, last }) => { response.writeHead(206, { "Content-Range": `bytes ${first}-${last}/${bytes.length}` }).end(Buffer.alloc(last - first + 5000)); return true }],
    ["replaces the file", "remote/changed", (response, _, { bytes, first, last }) => { response.writeHead(206, { "Content-Range": `bytes ${first}-${last}/${bytes.length}`, ETag: `"${first}"` }).end(bytes.subarray(first, last + 1)); return true }]
  ]
  it.each(spoiled)("%s: %s", async (_, code, spoil) => {
    await withRangeServer(new Map([["x", large]]), async ({ url }) => {
      const error = await rejected(fromUrl(`${url("x")}?token=secret`).then((source) => readHeader(source)))
      expect(error).toBeInstanceOf(FormatError)
      expect(error).toMatchObject({ code })
      expect((error as Error).message).toContain("/x: ")
      expect((error as Error).message).not.toContain("secret")
    }, spoil)
  })

  it("has no such file", () => withRangeServer(new Map(), async ({ url }) => {
    expect(await rejected(fromUrl(url("x")))).toMatchObject({ code: "remote/status", message: expect.stringContaining("answered 404") })
  }))

  it("has a file cut short", () => withRangeServer(new Map([["x", large.subarray(0, 70_000)]]), async ({ url }) => {
    expect(await rejected(fromUrl(url("x")).then((source) => readHeader(source)))).toMatchObject({ code: "safetensors/header-truncated" })
  }))
})

describe("a signal", () => {
  const reason = new Error("enough")
  it("that was aborted before", async () => {
    for (const source of [fromBytes(small), fromBlob(new Blob([small]))]) expect(await rejected(readHeader(source, { signal: AbortSignal.abort(reason) }))).toBe(reason)
    await withRangeServer(new Map([["x", small]]), async ({ asked, url }) => {
      expect(await rejected(fromUrl(url("x"), { signal: AbortSignal.abort(reason) }))).toBe(reason)
      expect(asked).toEqual([])
    })
  })

  it("while the server takes its time", async () => {
    const stop = new AbortController()
    const silent = () => {
      stop.abort(reason)
      return true
    }
    await withRangeServer(new Map([["x", small]]), async ({ url }) => expect(await rejected(fromUrl(url("x"), { signal: stop.signal }))).toBe(reason), silent)
  })
})

it("a source that gives too little is not believed", async () => {
  const { tensors } = await readHeader(fromBytes(small))
  const lying: ByteSource = { size: small.byteLength, read: async (offset, length) => small.subarray(offset, offset + length - 1) }
  expect(await rejected(readTensorBytes(lying, tensors[0]!))).toMatchObject({ code: "remote/short" })
})
