/** Connections for ranges, kept from one request to the next. How many there are at a time is the business of the lanes. */
import type { HttpHeaders, RangeAnswer } from "./Answer.ts"
import { Wire } from "./Wire.ts"

/** A tunnel to somewhere is made by the client of everything else. */
const PROXIES = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"]

export class Wires {
  readonly #timeout: number
  readonly #resting = new Map<string, Array<Wire>>()
  /** Where a body's length is not said beforehand. */
  readonly #unsaid = new Set<string>()

  /** `timeout`: milliseconds without a byte. */
  constructor(timeout: number) {
    this.#timeout = timeout
  }

  /** A wire may lead there. */
  lead({ origin }: URL): boolean {
    return !this.#unsaid.has(origin) && PROXIES.every((name) => !process.env[name])
  }

  /** Ask for a range. Undefined: no wire takes the answer, and none is to lead there again. Rejects with what the network fails with. */
  async ask(url: URL, headers: HttpHeaders, signal?: AbortSignal): Promise<RangeAnswer | undefined> {
    const resting = this.#resting.get(url.origin) ?? []
    this.#resting.set(url.origin, resting)
    const wire: Wire = resting.pop() ?? new Wire(url, this.#timeout, () => { this.#forget(resting, wire) })
    const tooLate = (): void => { wire.end(Object.assign(new Error("too slow"), { code: "ETIMEDOUT" })) }
    signal?.addEventListener("abort", tooLate)
    if (signal?.aborted) tooLate()
    const answer = await wire.ask(url, headers, () => {
      signal?.removeEventListener("abort", tooLate)
      resting.push(wire)
    })
    if (answer === undefined) this.#unsaid.add(url.origin)
    return answer
  }

  #forget(resting: Array<Wire>, wire: Wire): void {
    const at = resting.indexOf(wire)
    if (at >= 0) resting.splice(at, 1)
  }
}
