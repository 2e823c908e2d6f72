/**
 * The border of two windows of a file within a page. Pages are written whole, by the later window; the earlier one hands over
 * the bytes of the page that it assembled.
 */
import type { OpenSeal } from "./OpenSeal.ts"

export class PageBoundary {
  readonly #given = Promise.withResolvers<Handover>()

  constructor() {
    // It fails with the earlier window, whether or not the later one waits already.
    this.#given.promise.catch(() => {})
  }

  get given(): Promise<Handover> {
    return this.#given.promise
  }

  give(given: Handover): void {
    this.#given.resolve(given)
  }

  fail(error: unknown): void {
    this.#given.reject(error)
  }
}

export interface Handover {
  /** From the start of the page up to the border. */
  readonly bytes: Uint8Array
  /** Seals of the earlier window that are not known; some of them are in these bytes. */
  readonly open: ReadonlyArray<OpenSeal>
}
