/** What stands where tensors are missing: under which prefix the same names are there, or what else is. */
import { quote } from "../errors.ts"
import type { Shape } from "../tensor/Copy.ts"
import { recognise } from "./patterns.ts"

const MOST_SHOWN = 4
/** Names from strangers: no more segments of one are looked at. */
const MOST_SEGMENTS = 40

/** `a.b.c`, `b.c`, `c` */
function* suffixes(name: string): Generator<string> {
  let from = 0
  for (let i = 0; i < MOST_SEGMENTS; i++) {
    yield name.slice(from)
    const dot = name.indexOf(".", from)
    if (dot < 0) return
    from = dot + 1
  }
}

interface Named {
  readonly name: string
  readonly shape: Shape
}

/** The prefixes by which most names differ: what stands before the part that both sides have. */
const prefixes = (missing: ReadonlyArray<Named>, stored: ReadonlyArray<Named>) => {
  const wanted = new Map<string, string>()
  for (const { name } of missing) for (const suffix of suffixes(name)) if (!wanted.has(suffix)) wanted.set(suffix, name)
  const counts = new Map<string, { readonly here: string; readonly there: string; readonly example: string; count: number }>()
  for (const { name } of stored) {
    for (const suffix of suffixes(name)) {
      const other = wanted.get(suffix)
      // A last word (weight, bias) in common says nothing.
      if (other === undefined || !suffix.includes(".")) continue
      const [here, there] = [name.slice(0, name.length - suffix.length), other.slice(0, other.length - suffix.length)]
      const key = JSON.stringify([here, there])
      const known = counts.get(key)
      if (known) known.count++
      else counts.set(key, { here, there, example: name, count: 1 })
      break
    }
  }
  return [...counts.values()].sort((a, b) => b.count - a.count)[0]
}

const named = (prefix: string): string => (prefix === "" ? "nothing" : quote(prefix))

/**
 * One line about the names that are there and not expected, in place of `missing`: the prefix that makes the difference, where one
 * does for most of them, else their patterns. Undefined if there are none.
 */
export const thereInstead = (missing: ReadonlyArray<Named>, unexpected: ReadonlyArray<Named>): string | undefined => {
  if (unexpected.length === 0) return undefined
  const most = prefixes(missing, unexpected)
  if (most && most.here !== most.there && most.count * 2 > Math.min(missing.length, unexpected.length)) {
    return `What is there has the prefix ${named(most.here)} where the model's names have ${named(most.there)}: ${quote(most.example)} (${most.count} of ${unexpected.length} tensors).${
      most.here === "" && most.there === "model." ? " So a base model is saved (AutoModel), without its output layer; save the whole model." : ""}`
  }
  const patterns = recognise(unexpected).toSorted((a, b) => b.count - a.count)
  const shown = patterns.slice(0, MOST_SHOWN).map(({ count, pattern, shape }) => `${quote(pattern)} (${count} × [${shape}])`)
  const rest = patterns.length > MOST_SHOWN ? `, … (${patterns.length} patterns in all)` : ""
  return `There is instead: ${shown.join(", ")}${rest}.`
}

const EMBEDDING = /(^|\.)(embed_tokens|word_embeddings|wte|tok_embeddings|embeddings)\.weight$/
const HEAD = /(^|\.)(lm_head|embed_out|output_layer)\.weight$/

/** Only the output layer is missing: is it meant to be tied? */
export const headMissing = (missing: ReadonlyArray<string>): string | undefined =>
  missing.length > 0 && missing.every((name) => HEAD.test(name))
    ? `By config.json the output layer has weights of its own (tie_word_embeddings false; share_embeddings_and_output_weights in Megatron). If it is meant to be tied to the embedding, set tie_word_embeddings to true in config.json.`
    : undefined

/** A shape that is wrong in a known way. */
export interface Contradiction {
  readonly name: string
  readonly implied: Shape
  readonly stored: Shape
}

/** What the shapes that contradict config.json have in common, and what to do about it. */
export const shapesExplained = (wrong: ReadonlyArray<Contradiction>): string | undefined => {
  const table = wrong.find(({ implied, name, stored }) =>
    (EMBEDDING.test(name) || HEAD.test(name)) && implied.length === 2 && stored.length === 2 && implied[1] === stored[1])
  if (table && wrong.every(({ name }) => EMBEDDING.test(name) || HEAD.test(name))) {
    const [said, there] = [table.implied[0]!, table.stored[0]!]
    return `vocab_size in config.json says ${said}, ${there} rows are stored: ${
      there > said ? `if tokens were added, set vocab_size to ${there}; otherwise` : "the model has another tokenizer, or"
    } config.json is that of another model.`
  }
  const swapped = wrong.find(({ implied, name, stored }) =>
    /experts/.test(name) && implied.length === stored.length && implied.length >= 2 &&
    implied.at(-1) === stored.at(-2) && implied.at(-2) === stored.at(-1) && implied.at(-1) !== implied.at(-2))
  return swapped && `The last two axes of ${quote(swapped.name)} are swapped: the legacy grouped MLP of Megatron-Core stores its experts as [in, out]. They are not transposed here; load the checkpoint with the Megatron-Core that wrote it and save it with Transformer Engine's grouped MLP or with sequential experts.`
}
