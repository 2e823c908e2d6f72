/**
 * Standard output and standard error. Whatever becomes of them (a full disk, a pipe whose reader went away, a terminal that is gone),
 * the work goes on and ends as it would: a stream that failed is written to no more, and the end of the process says so.
 */
import { writeSync } from "node:fs"
import { diskError, type DiskError, errnoOf } from "../api/ground.ts"
import { safe } from "./terminal.ts"

interface Stream {
  readonly fd: number
  failure: string | undefined
}

const out: Stream = { fd: 1, failure: undefined }
const err: Stream = { fd: 2, failure: undefined }

/** A pipe that does not block is full: its reader is slower than we are. */
const PAUSE_MS = 5
const pause = (): void => { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS) }

/** All of it: Node's own stream for files takes a short write for a whole one. */
const writeAll = (fd: number, bytes: Uint8Array): void => {
  for (let at = 0; at < bytes.byteLength;) {
    try {
      at += writeSync(fd, bytes, at)
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === "EAGAIN") pause()
      else if (errno !== "EINTR") throw error
    }
  }
}

const write = (stream: Stream, text: string): boolean => {
  try {
    if (stream.failure === undefined) writeAll(stream.fd, Buffer.from(text))
  } catch (error) {
    stream.failure = errnoOf(error)
  }
  return stream.failure === undefined
}

/** To standard output; false if nobody will ever see more. */
export const print = (text: string): boolean => write(out, safe(text))

/** To standard error. */
export const tell = (text: string): boolean => write(err, safe(text))

/** The same for text of our own that moves the cursor or has styles: help, progress. Nothing from a file may be in it. */
export const printOwn = (text: string): boolean => write(out, text)
export const tellOwn = (text: string): boolean => write(err, text)

/** Why the result did not reach standard output. A reader that has read enough (`inspect … | head`) is no failure. */
export const outputFailure = (): DiskError | undefined =>
  out.failure === undefined || out.failure === "EPIPE" ? undefined : diskError("standard output", "write", out.failure)
