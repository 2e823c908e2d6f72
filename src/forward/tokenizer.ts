/**
 * Text to tokens and back by a model's tokenizer.json, through the package `@huggingface/tokenizers`: an optional peer, which token ids do
 * without.
 */
import { join } from "node:path"
import { atPath } from "../document/decode.ts"
import { type JsonValue, parseJson } from "../document/StrictJson.ts"
import { InvalidFile, Unsupported } from "../errors.ts"
import { present } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import type { Store } from "../store/Store.ts"

/** Published ones have up to 40 MB. */
const LARGEST = 256 << 20

/** A vocabulary of a quarter of a million, and twice as many merges of two words each. */
const MOST_VALUES = 10_000_000

const TOKENIZER = "tokenizer.json"
const SETTINGS = "tokenizer_config.json"

export interface Tokenizer {
  /** With the tokens that the tokenizer puts around a text by itself. */
  readonly encode: (text: string) => ReadonlyArray<number>
  /** What one token is as text. */
  readonly decode: (token: number) => string
}

interface Package {
  readonly Tokenizer: new (tokenizer: JsonValue, settings: JsonValue) => {
    readonly encode: (text: string) => { readonly ids: ReadonlyArray<number> }
    readonly decode: (ids: ReadonlyArray<number>, options: { readonly skip_special_tokens: boolean; readonly clean_up_tokenization_spaces: boolean }) => string
  }
}

const loadPackage = async (): Promise<Package | undefined> => {
  try {
    return await import("@huggingface/tokenizers" as string) as Package
  } catch {
    return undefined
  }
}

const jsonAt = async (store: Store, path: string): Promise<JsonValue | undefined> => {
  if (!await present(store, path)) return undefined
  const bytes = await readSmall(store, path, path, LARGEST)
  return atPath(path, () => parseJson(bytes, { maxBytes: LARGEST, maxValues: MOST_VALUES }))
}

/**
 * The tokenizer of a model directory, or undefined where there is none or the package is not installed.
 *
 * @throws InvalidFile `tokenizer/invalid` for a file that the package does not understand
 */
export const openTokenizer = async (store: Store, directory: string): Promise<Tokenizer | undefined> => {
  const path = join(directory, TOKENIZER)
  const [own, loaded] = [await jsonAt(store, path), await loadPackage()]
  if (own === undefined || loaded === undefined) return undefined
  const settings = await jsonAt(store, join(directory, SETTINGS)) ?? {}
  const guarded = <A>(call: () => A): A => {
    try {
      return call()
    } catch (error) {
      throw new InvalidFile({ path, code: "tokenizer/invalid", problem: `the tokenizer does not work: ${String((error as Error).message).slice(0, 200)}`, hint: "Give the tokens by their ids (--tokens)." })
    }
  }
  const tokenizer = guarded(() => new loaded.Tokenizer(own, settings))
  return {
    encode: (text) => guarded(() => tokenizer.encode(text).ids),
    decode: (token) => guarded(() => tokenizer.decode([token], { skip_special_tokens: false, clean_up_tokenization_spaces: false }))
  }
}

/** The same, needed: Unsupported `unsupported/tokenizer` says what is missing. */
export const requireTokenizer = async (store: Store, directory: string): Promise<Tokenizer> => {
  const found = await openTokenizer(store, directory)
  if (found) return found
  const problem = await present(store, join(directory, TOKENIZER)) ? "the package @huggingface/tokenizers is not installed, which reads tokenizer.json" : `there is no ${TOKENIZER}`
  throw new Unsupported({ code: "unsupported/tokenizer", what: directory, problem, hint: "npm install @huggingface/tokenizers, or give the tokens by their ids (--tokens)." })
}
