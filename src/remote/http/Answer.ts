/** What a server said, and how its body is taken. */
import type { Readable } from "node:stream"

export type HttpHeaders = Readonly<Record<string, string>>

/** What a server said first. The body is taken or dropped, or the connection stays taken. */
interface AnswerHead {
  readonly url: URL
  readonly status: number
  /** One value of a header, by its name in small letters. */
  readonly header: (name: string) => string | undefined
  readonly drop: () => Promise<void>
}

export interface HttpAnswer extends AnswerHead {
  /** Give every part of the body to `take`, as it comes. Rejects with what `take` throws, or with what the network fails with. */
  readonly receive: (take: (part: Uint8Array) => void) => Promise<void>
}

/** An answer whose body goes straight to where it is wanted. */
export interface RangeAnswer extends AnswerHead {
  /**
   * Put the body at the beginning of `into`; `took` hears of bytes as they come. Rejects with {@link Overlong} if there are more, or with
   * what the network fails with; nothing is written to `into` after that.
   */
  readonly fill: (into: Uint8Array, took: (bytes: number) => void) => Promise<void>
}

/** A body has more bytes than there may be. */
export class Overlong extends Error {}

/** A body that comes in parts, copied together. */
export const filling = ({ drop, header, receive, status, url }: HttpAnswer): RangeAnswer => ({
  url,
  status,
  header,
  drop,
  fill: (into, took) => {
    let at = 0
    return receive((part) => {
      if (at + part.byteLength > into.byteLength) throw new Overlong()
      into.set(part, at)
      at += part.byteLength
      took(part.byteLength)
    })
  }
})

/** Events, as a loop over the parts takes twice the time. */
export const received = (body: Readable, take: (part: Uint8Array) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    body.on("data", (part: Uint8Array) => {
      try {
        take(part)
      } catch (error) {
        reject(error)
        body.destroy()
      }
    })
    body.on("end", resolve)
    body.on("error", reject)
    body.on("close", () => reject(Object.assign(new Error("the connection was cut"), { code: "ECONNRESET" })))
  })
