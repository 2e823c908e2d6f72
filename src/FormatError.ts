/** What pure codecs throw, without anything else: a browser that reads a header needs no more. */
import { escaped } from "./quote.ts"

/** Where in a document something is wrong. All parts optional: a codec gives what it knows. */
export interface Place {
  readonly tensor?: string | undefined
  /** Field path inside a JSON or YAML document, e.g. `vision_config.depth`. */
  readonly field?: string | undefined
  /** Byte offset from the start of the file (or of the record, if `record` is given). */
  readonly offset?: number | undefined
  readonly record?: string | undefined
}

/** Thrown by pure codecs: what is wrong and where, without a path. */
export class FormatError extends Error {
  override readonly name = "FormatError"
  /** Stable identifier, e.g. `safetensors/header-too-large`; the error catalogue lists them. */
  readonly code: string
  readonly place: Place
  constructor(code: string, problem: string, place: Place = {}) {
    // One line: what it quotes of a file may hold anything.
    super(escaped(problem))
    this.code = code
    this.place = place
  }
}
