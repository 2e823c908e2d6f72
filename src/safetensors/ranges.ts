/** Headers and tensors of a {@link ByteSource}: as few and as short reads as there can be. */
import { FormatError } from "../FormatError.ts"
import { type ByteSource, FIRST_READ, type ReadOptions } from "./ByteSource.ts"
import { type Header, LENGTH_BYTES, parseHeader, readHeaderLength } from "./Header.ts"
import type { TensorInfo } from "./Tensor.ts"

/**
 * Read and validate the header of a file: one read for headers up to 64 KiB, else two. The data is not touched.
 *
 * @throws FormatError `safetensors/…`; what the source rejects with
 */
export const readHeader = async (source: ByteSource, options: ReadOptions = {}): Promise<Header> => {
  const first = await source.read(0, Math.min(FIRST_READ, source.size), options)
  const end = LENGTH_BYTES + readHeaderLength(first, source.size)
  if (end <= first.byteLength) return parseHeader(first, source.size)
  const all = new Uint8Array(end)
  all.set(first)
  all.set(await source.read(first.byteLength, end - first.byteLength, options), first.byteLength)
  return parseHeader(all, source.size)
}

/**
 * The bytes of one tensor: row-major, little endian, `end - begin` of them, in a buffer of their own (so that, say,
 * `new Float32Array(bytes.buffer)` are the elements of an F32 tensor).
 *
 * @throws FormatError `remote/short` if the source gives fewer; what the source rejects with
 */
export const readTensorBytes = async (source: ByteSource, { begin, end, name }: Pick<TensorInfo, "name" | "begin" | "end">, options: ReadOptions = {}): Promise<Uint8Array<ArrayBuffer>> => {
  const bytes = await source.read(begin, end - begin, options)
  if (bytes.byteLength !== end - begin) {
    throw new FormatError("remote/short", `${bytes.byteLength} bytes came, ${end - begin} were asked for`, { tensor: name, offset: begin })
  }
  return bytes.buffer instanceof ArrayBuffer && bytes.buffer.byteLength === bytes.byteLength ? bytes as Uint8Array<ArrayBuffer> : new Uint8Array(bytes)
}
