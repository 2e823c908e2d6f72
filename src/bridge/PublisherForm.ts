/**
 * Weights in the publisher's own form (`consolidated.safetensors` and `params.json`), for families where it is public how they become
 * those of transformers: which config.json the parameters mean, which name each tensor has, and the order of its rows.
 */
import type { z } from "zod"
import type { JsonValue } from "../document/StrictJson.ts"
import { FormatError } from "../errors.ts"
import { type Copy, type Shape, stridesOf } from "../tensor/Copy.ts"

/** Fields of a params.json or a config.json. */
export type PublishedFields = { readonly [field: string]: JsonValue }

/** What a params.json means. */
export interface PublishedConfig {
  readonly architecture: string
  /** Fields of config.json, without `architectures` and dtype. */
  readonly config: PublishedFields
  /** What it does not say, and what was taken instead. */
  readonly assumed: ReadonlyArray<string>
}

/** One kind of tensor: its name there and in transformers, `*` for digits. */
export interface PublishedTensor<Params> {
  readonly stored: string
  readonly name: string
  /** Rows of that many heads whose rotary positions stand in pairs there, in halves in transformers. */
  readonly pairs?: (params: Params) => number
}

/** As a family writes it. */
export interface PublisherSource<Params> {
  /** Its parameters are those of such a model. */
  readonly applies: (params: PublishedFields) => boolean
  /** Every field whose meaning is public, and no other. */
  readonly params: z.ZodType<Params>
  readonly config: (params: Params) => PublishedConfig
  readonly tensors: ReadonlyArray<PublishedTensor<Params>>
}

/** A model in its publisher's form. */
export interface PublishedModel extends PublishedConfig {
  /** The name of a tensor in transformers, and how its elements are those of the stored one; undefined: it is none of such a model. */
  readonly tensor: (stored: string, shape: Shape) => { readonly name: string; readonly copy?: Copy } | undefined
}

export interface PublisherForm {
  readonly applies: (params: PublishedFields) => boolean
  readonly schema: z.ZodType
  /** `params`: what the schema makes of params.json. */
  readonly model: (params: unknown) => PublishedModel
}

/**
 * Heads of rows (p, half) there, (half, p) in transformers: row `2·p + half` of a head is row `half·d/2 + p` of that head.
 *
 * @throws FormatError `publisher/heads` for rows that are not of so many heads of even width
 */
export const pairedRows = (stored: string, name: string, shape: Shape, heads: number): Copy => {
  const [rows = 0, ...rest] = shape
  const half = rows / heads / 2
  if (!Number.isInteger(half) || half < 1) throw new FormatError("publisher/heads", `${rows} rows are not those of ${heads} heads of even width`, { tensor: stored })
  const width = stridesOf(shape)[0]!
  const inner = stridesOf(shape).slice(1)
  return {
    shape: [heads, 2, half, ...rest],
    source: { tensor: stored, offset: 0, strides: [2 * half * width, width, 2 * width, ...inner] },
    target: { tensor: name, offset: 0, strides: [2 * half * width, half * width, width, ...inner] }
  }
}

const patternOf = (stored: string): RegExp => new RegExp(`^${stored.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", "(\\d{1,6})")}$`)

const filled = (name: string, numbers: ReadonlyArray<string>): string => {
  let next = 0
  return name.replaceAll("*", () => numbers[next++]!)
}

/** A form with the type of its parameters closed over. */
export const publisherForm = <Params>({ applies, config, params: schema, tensors }: PublisherSource<Params>): PublisherForm => ({
  applies,
  schema,
  model: (params) => {
    const own = tensors.map((tensor) => ({ ...tensor, pattern: patternOf(tensor.stored) }))
    return {
      ...config(params as Params),
      tensor: (stored, shape) => {
        for (const { name, pairs, pattern } of own) {
          const match = pattern.exec(stored)
          if (!match) continue
          const published = filled(name, match.slice(1))
          return { name: published, ...(pairs ? { copy: pairedRows(stored, published, shape, pairs(params as Params)) } : {}) }
        }
        return undefined
      }
    }
  }
})
