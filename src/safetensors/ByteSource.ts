/**
 * Bytes that can be read in ranges, wherever they are: memory, a Blob or File of a browser, a server that answers range requests.
 * Web standards only.
 */
import { FormatError } from "../FormatError.ts"
import { escaped } from "../quote.ts"

/** How a read can be stopped. */
export interface ReadOptions {
  /** Aborted: the read rejects with `signal.reason`. */
  readonly signal?: AbortSignal
}

/** Something of a known size that is read in ranges. Any object of this shape will do. */
export interface ByteSource {
  /** Bytes. */
  readonly size: number
  /** Exactly `length` bytes from `offset` (bytes from the start), which lie inside; rejects if it cannot give them. */
  readonly read: (offset: number, length: number, options?: ReadOptions) => Promise<Uint8Array>
}

const wrong = (code: string, url: string, problem: string, offset: number): FormatError =>
  new FormatError(`remote/${code}`, `${without(url)}: ${problem}`, { offset })

/** A query may hold a token. */
const without = (url: string): string => escaped(url.split(/[?#]/)[0]!)

/** Bytes in memory. What is read shares memory with them. */
export const fromBytes = (bytes: Uint8Array): ByteSource => ({
  size: bytes.byteLength,
  read: async (offset, length, { signal } = {}) => {
    signal?.throwIfAborted()
    return bytes.subarray(offset, offset + length)
  }
})

/** A Blob, such as the File that a user chose: only the ranges that are asked for are loaded. */
export const fromBlob = (blob: Blob): ByteSource => ({
  size: blob.size,
  read: async (offset, length, { signal } = {}) => {
    signal?.throwIfAborted()
    const bytes = new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer())
    signal?.throwIfAborted()
    return bytes
  }
})

/** How a file on a server is asked for. */
export interface UrlOptions extends ReadOptions {
  /** Sent with every request, e.g. `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>
  /** Default: the global `fetch`. */
  readonly fetch?: typeof fetch
}

interface ResponsePart {
  readonly bytes: Uint8Array
  /** Of the whole file. */
  readonly size: number
  readonly etag: string | null
}

/** `bytes FIRST-LAST/SIZE` */
const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/

const part = async (url: string, offset: number, length: number, { fetch: ask = fetch, headers, signal }: UrlOptions): Promise<ResponsePart> => {
  const response = await ask(url, { headers: { ...headers, Range: `bytes=${offset}-${offset + length - 1}` }, ...(signal ? { signal } : {}) })
  const refuse = async (error: FormatError): Promise<never> => {
    await response.body?.cancel()
    throw error
  }
  // All of it: possibly many gigabytes.
  if (response.status === 200) return refuse(wrong("no-ranges", url, "the server does not answer range requests", offset))
  if (response.status !== 206) return refuse(wrong("status", url, `the server answered ${response.status}`, offset))
  const found = CONTENT_RANGE.exec(response.headers.get("Content-Range") ?? "")
  if (!found) return refuse(wrong("no-size", url, "the answer does not say (or, in a browser, not to this page) how large the file is", offset))
  const [first, last, size] = found.slice(1).map(Number) as [number, number, number]
  const wanted = Math.min(length, size - offset)
  if (wanted < 1 || first !== offset || last !== offset + wanted - 1) {
    return refuse(wrong("range", url, `the server answered with bytes ${first}-${last} of ${size}, not with the ${length} from byte ${offset}`, offset))
  }
  const bytes = await bodyOf(response, wanted)
  if (bytes.byteLength !== wanted) throw wrong("short", url, `${bytes.byteLength} bytes came, ${wanted} were promised`, offset)
  return { bytes, size, etag: response.headers.get("ETag") }
}

/** What a server sends beyond what it promised is not kept. */
const bodyOf = async (response: Response, length: number): Promise<Uint8Array> => {
  const bytes = new Uint8Array(length)
  let at = 0
  for (const reader = response.body!.getReader();;) {
    const { done, value } = await reader.read()
    if (done) return bytes.subarray(0, at)
    if (at + value.byteLength > length) {
      await reader.cancel()
      return new Uint8Array(length + 1)
    }
    bytes.set(value, at)
    at += value.byteLength
  }
}

/** Holds the header of all but very large models: longer reads cost what they carry, a second one the way there and back. */
export const FIRST_READ = 1 << 16

/**
 * A file on a server, read by range requests (`Range`, `206`). The first bytes come with the size, so that a small header costs one
 * request. In a page of another origin the server must expose `Content-Range` (the Hugging Face Hub does).
 *
 * @throws FormatError `remote/status`, `no-ranges`, `no-size`, `range`, `short`; later, if the file is replaced meanwhile,
 * `remote/changed`; TypeError of `fetch` if there is no connection; `signal.reason`
 */
export const fromUrl = async (url: string, options: UrlOptions = {}): Promise<ByteSource> => {
  const first = await part(url, 0, FIRST_READ, options)
  const read: ByteSource["read"] = async (offset, length, { signal = options.signal } = {}) => {
    signal?.throwIfAborted()
    if (length === 0) return new Uint8Array(0)
    if (offset + length <= first.bytes.byteLength) return first.bytes.subarray(offset, offset + length)
    const next = await part(url, offset, length, { ...options, ...(signal ? { signal } : {}) })
    if (next.size !== first.size || next.etag !== first.etag) throw wrong("changed", url, "the file was replaced while it was read", offset)
    if (next.bytes.byteLength < length) throw wrong("short", url, `the file ends at byte ${first.size}`, offset)
    return next.bytes
  }
  return { size: first.size, read }
}
