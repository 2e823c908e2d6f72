/**
 * The border of two windows of a file within a page. Pages are written whole, by the later window; the earlier one hands over
 * the bytes of the page that it assembled.
 */
export class PageBoundary {
  readonly #bytes = Promise.withResolvers<Uint8Array>()

  constructor() {
    // It fails with the earlier window, whether or not the later one waits already.
    this.#bytes.promise.catch(() => {})
  }

  /** From the start of the page up to the border. */
  get bytes(): Promise<Uint8Array> {
    return this.#bytes.promise
  }

  give(bytes: Uint8Array): void {
    this.#bytes.resolve(bytes)
  }

  fail(error: unknown): void {
    this.#bytes.reject(error)
  }
}
