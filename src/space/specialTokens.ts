/** Ids of the special tokens of a tokenizer, as config.json has them: read from its files, never guessed. */
import { join } from "node:path"
import { z } from "zod"
import { decodeJson } from "../document/decode.ts"
import type { Store } from "../store/Store.ts"
import { isNotThere } from "../store/existing.ts"
import { readSmall } from "../store/readSmall.ts"

/** Real ones have up to 40 MB. */
const LARGEST_TOKENIZER = 64 << 20

const id = z.int().min(0)
const token = z.union([z.string(), z.looseObject({ content: z.string() }).transform(({ content }) => content)]).nullish()
const configSchema = z.looseObject({
  bos_token: token,
  eos_token: token,
  pad_token: token,
  added_tokens_decoder: z.record(z.string(), z.looseObject({ content: z.string() })).nullish()
})
const tokenizerSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id, content: z.string() })).nullish(),
  model: z.looseObject({ vocab: z.unknown() }).nullish()
})

/** Undefined where the file is not there. */
const read = async <A>(store: Store, directory: string, name: string, schema: z.ZodType<A>): Promise<A | undefined> => {
  const path = join(directory, name)
  try {
    return decodeJson(schema, path, await readSmall(store, path, path, LARGEST_TOKENIZER))
  } catch (error) {
    if (isNotThere(error)) return undefined
    throw error
  }
}

const vocabularySchema = z.record(z.string(), id)

/**
 * `bos_token_id`, `eos_token_id` and `pad_token_id`; null for a token that the tokenizer does not have or whose id its files do not
 * say. Errors: InvalidFile for a file that is no tokenizer's, IoError.
 */
export const specialTokens = async (store: Store, directory: string): Promise<Readonly<Record<string, number | null>>> => {
  const config = await read(store, directory, "tokenizer_config.json", configSchema)
  const tokenizer = await read(store, directory, "tokenizer.json", tokenizerSchema)
  const vocabulary = vocabularySchema.safeParse(tokenizer?.model?.vocab)
  const ids = new Map<string, number>(vocabulary.success ? Object.entries(vocabulary.data) : [])
  for (const [number, { content }] of Object.entries(config?.added_tokens_decoder ?? {})) if (/^\d{1,9}$/.test(number)) ids.set(content, Number(number))
  for (const added of tokenizer?.added_tokens ?? []) ids.set(added.content, added.id)
  const idOf = (content: string | null | undefined): number | null => (typeof content === "string" ? ids.get(content) ?? null : null)
  return { bos_token_id: idOf(config?.bos_token), eos_token_id: idOf(config?.eos_token), pad_token_id: idOf(config?.pad_token) }
}
