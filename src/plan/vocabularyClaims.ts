/**
 * What a checkpoint and its tokenizers call vocabulary. Rows of a stored table beyond config.json's are padding, unless one of
 * these says that tokens were added in training; then they are weights, and an export must not cut them in silence.
 */
import { join } from "node:path"
import { z } from "zod"
import { argumentsOf } from "../arguments/TrainingArguments.ts"
import type { Checkpoint } from "../space/Checkpoint.ts"
import { readCommonState } from "../checkpoint/CommonState.ts"
import { RUN_CONFIG, TOKENIZER } from "../checkpoint/names.ts"
import { readOwn } from "../checkpoint/ownFile.ts"
import { atPath, decodeJson } from "../document/decode.ts"
import { InvalidFile, isBridgeError, PlanRefused, quotePath } from "../errors.ts"
import type { Store } from "../store/Store.ts"
import { readSmall } from "../store/readSmall.ts"
import { LARGEST_RUN_CONFIG, numberAt, parseRunConfig, sectionAt } from "../runconfig/RunConfigFile.ts"
import type { PyRead } from "../torch/PyValue.ts"
import { paddedVocabulary, type VocabularyCut } from "./vocabulary.ts"

/** Somebody says that the vocabulary has more tokens than config.json says. */
export interface VocabularyClaim {
  readonly size: number
  /** Complete, e.g. `args.vocab_size of common.pt is 300`. */
  readonly says: string
}

interface Found {
  readonly claims: ReadonlyArray<VocabularyClaim>
  readonly notes: ReadonlyArray<string>
}

/**
 * Of the arguments of a training run. `vocab_size` is the tokenizer's; where only the padded size is recorded, no vocabulary of
 * `rows` tokens pads to it by the recorded rule if there were more.
 */
const claimsOfArgs = (common: PyRead, file: string, rows: number): ReadonlyArray<VocabularyClaim> => {
  const args = argumentsOf(common)
  const at = (name: string): number | undefined => {
    const value = args?.value(name)
    return typeof value === "number" && Number.isInteger(value) && value > 0 ? value : undefined
  }
  const [size, padded, divisibleBy, tp] = ["vocab_size", "padded_vocab_size", "make_vocab_size_divisible_by", "tensor_model_parallel_size"].map(at)
  if (size !== undefined) return size > rows ? [{ size, says: `args.vocab_size of ${file} is ${size}` }] : []
  if (padded === undefined || divisibleBy === undefined || tp === undefined || padded <= paddedVocabulary(rows, divisibleBy, tp)) return []
  return [{ size: padded, says: `args.padded_vocab_size of ${file} is ${padded}, to which ${rows} tokens do not pad (multiples of ${divisibleBy} × ${tp})` }]
}

/** `vocab_size` of the model section, or of the standard model that a MIMO model is made from. */
const claimsOfRunConfig = (bytes: Uint8Array, rows: number): ReadonlyArray<VocabularyClaim> => {
  const config = parseRunConfig(bytes)
  const size = numberAt(sectionAt(config, "model", "standard_provider") ?? sectionAt(config, "model"), "vocab_size")
  return size !== undefined && size > rows ? [{ size, says: `vocab_size of ${RUN_CONFIG} is ${size}` }] : []
}

const id = z.int().min(0)
const TOKENIZER_FILES = {
  "tokenizer.json": z.looseObject({
    model: z.looseObject({ vocab: z.union([z.record(z.string(), id), z.array(z.unknown())]).nullish() }).nullish(),
    added_tokens: z.array(z.looseObject({ id })).nullish()
  }).transform(({ added_tokens: added, model }) => {
    const vocabulary = model?.vocab ?? []
    return largest([Array.isArray(vocabulary) ? [vocabulary.length - 1] : Object.values(vocabulary), added?.map((token) => token.id) ?? []])
  }),
  "added_tokens.json": z.record(z.string(), id).transform((tokens) => largest([Object.values(tokens)])),
  "tokenizer_config.json": z.looseObject({ added_tokens_decoder: z.record(z.string(), z.unknown()).nullish() })
    .transform(({ added_tokens_decoder: decoder }) => largest([Object.keys(decoder ?? {}).filter((key) => /^\d{1,9}$/.test(key)).map(Number)]))
} as const

/** A loop, as `Math.max(...ids)` fails for long lists. */
const largest = (lists: ReadonlyArray<ReadonlyArray<number>>): number => {
  let most = -1
  for (const list of lists) for (const number of list) most = Math.max(most, number)
  return most
}

/** Real ones have up to 40 MB. */
const LARGEST_TOKENIZER = 64 << 20

const claimsOfTokenizer = async (store: Store, directory: string, name: keyof typeof TOKENIZER_FILES, rows: number): Promise<ReadonlyArray<VocabularyClaim>> => {
  const path = join(directory, name)
  const size = 1 + decodeJson(TOKENIZER_FILES[name], path, await readSmall(store, path, path, LARGEST_TOKENIZER))
  return size > rows ? [{ size, says: `${quotePath(path)} has token ids up to ${size - 1}` }] : []
}

/** Everything that says so; `model`: a directory with a tokenizer. What cannot be read says nothing, in a note. */
export const vocabularyClaims = async (store: Store, checkpoint: Checkpoint, model: string | undefined, rows: number): Promise<Found> => {
  const claims: Array<VocabularyClaim> = []
  const notes: Array<string> = []
  const ask = async (what: string, read: () => Promise<ReadonlyArray<VocabularyClaim>>): Promise<void> => {
    try {
      claims.push(...(await read()))
    } catch (error) {
      if (!isBridgeError(error)) throw error
      if ((error instanceof InvalidFile && error.code === "file/missing") || (error._tag === "IoError" && (error.errno === "ENOENT" || error.errno === "ENOTDIR"))) return
      notes.push(`${what} could not be asked for the size of the vocabulary: ${error.message.split("\n")[0]}`)
    }
  }
  const { directory, metadata } = checkpoint
  await ask("the common state", async () => {
    const common = await readCommonState(store, directory, metadata)
    return common ? claimsOfArgs(common.value, common.file, rows) : []
  })
  await ask(RUN_CONFIG, async () => {
    const bytes = await readOwn(store, directory, RUN_CONFIG, LARGEST_RUN_CONFIG)
    return atPath(join(directory, RUN_CONFIG), () => claimsOfRunConfig(bytes, rows))
  })
  for (const folder of [join(directory, TOKENIZER), ...(model === undefined ? [] : [model])]) {
    for (const name of Object.keys(TOKENIZER_FILES) as ReadonlyArray<keyof typeof TOKENIZER_FILES>) {
      await ask(quotePath(join(folder, name)), () => claimsOfTokenizer(store, folder, name, rows))
    }
  }
  return { claims, notes }
}

/** PlanRefused `plan/vocabulary` if anybody claims rows that would be cut. */
export const refuseCuts = (cuts: ReadonlyArray<VocabularyCut>, claims: ReadonlyArray<VocabularyClaim>): void => {
  const [cut] = cuts
  if (!cut || claims.length === 0) return
  const size = Math.min(cut.stored, claims[0]!.size)
  throw new PlanRefused({
    code: "plan/vocabulary",
    problem: `trained rows would be lost: config.json has a vocabulary of ${cut.rows}, but ${claims.map((claim) => claim.says).join("; ")}`,
    names: cuts.map(({ key, rows, stored }) => `${key} (${stored} → ${rows} rows)`),
    hint: `--vocab-size ${size} exports ${size} rows and writes that number into config.json; --vocab-size ${cut.rows} cuts them on purpose.`
  })
}
