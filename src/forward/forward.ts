/** The forward check: the tokens of a text through a decoder that is read once, layer by layer. */
import { Effect } from "effect"
import type { LoadedAdapter } from "../adapters/merge/loadAdapter.ts"
import type { Arithmetic } from "../arithmetic/Arithmetic.ts"
import type { BoundParameter } from "../bridge/Conversion.ts"
import type { EngineOptions } from "../engine/index.ts"
import { UsageError } from "../errors.ts"
import { checking } from "../io/attempt.ts"
import { changesByParameter } from "./adapted.ts"
import { decode, type TakeLogits } from "./decoder.ts"
import { Pass } from "./layers.ts"
import type { OpenedDecoder } from "./openDecoder.ts"
import { Scores, type Token } from "./Scores.ts"
import { takeSteps } from "./steps.ts"

/** A text longer than this is told to be cut: attention takes the square of it. */
export const MOST_TOKENS = 32_768

export interface ForwardOptions extends EngineOptions {
  readonly arithmetic: Arithmetic
  readonly adapters?: ReadonlyArray<LoadedAdapter>
  /** How many of the likeliest next tokens are told. */
  readonly top: number
  /** Told all logits, a part of the vocabulary at a time. */
  readonly onLogits?: TakeLogits
  /** Told the bytes of all parameters, then, layer by layer, those that are done with: read, or experts that no token goes through. */
  readonly onSize?: (bytes: number) => void
  readonly progress?: (bytes: number) => void
}

export interface ForwardResult {
  /** By position: what comes next, likeliest first. */
  readonly next: ReadonlyArray<ReadonlyArray<Token>>
  /** Log-probability of each token behind the first, by the tokens before it. */
  readonly logProbabilities: ReadonlyArray<number>
  /** exp of their negative mean; undefined for a single token. */
  readonly perplexity: number | undefined
  /** Bytes of parameters that were computed with. */
  readonly bytes: number
}

const checked = (tokens: ReadonlyArray<number>, vocabulary: number): void => {
  if (tokens.length === 0) throw new UsageError({ problem: "there is no token to begin with" })
  if (tokens.length > MOST_TOKENS) throw new UsageError({ problem: `${tokens.length} tokens are more than ${MOST_TOKENS}`, hint: "Give a part of the text." })
  const wrong = tokens.find((token) => !(Number.isInteger(token) && token >= 0 && token < vocabulary))
  if (wrong !== undefined) throw new UsageError({ problem: `token ${wrong} is not among the ${vocabulary} of the vocabulary` })
}

export const forward = Effect.fnUntraced(function*(decoder: OpenedDecoder, tokens: ReadonlyArray<number>, options: ForwardOptions) {
  const { adapters = [], arithmetic, onLogits, onSize, progress, top, ...engine } = options
  yield* checking(() => checked(tokens, decoder.plan.vocabulary))
  const scores = new Scores(tokens.map((_, i) => tokens[i + 1]), top)
  const pass = new Pass(arithmetic, decoder.plan, tokens.length, (bound: BoundParameter) => changesByParameter(arithmetic, adapters, bound))
  const { layers, others } = decoder.sizes
  onSize?.(layers.reduce((sum, size) => sum + size, others))
  let bytes = 0
  const steps = decode(pass, tokens, (logits, width, first) => {
    scores.add(logits, width, first)
    onLogits?.(logits, width, first)
  }, (layer) => progress?.(layers[layer]!))
  yield* takeSteps(steps, decoder.array, { ...engine, onBytes: (n) => { bytes += n } })
  progress?.(others)
  const logProbabilities = scores.following.filter((p) => p !== undefined)
  const mean = logProbabilities.reduce((sum, p) => sum + p, 0) / logProbabilities.length
  return {
    next: tokens.map((_, i) => scores.best(i)),
    logProbabilities,
    perplexity: logProbabilities.length === 0 ? undefined : Math.exp(-mean),
    bytes
  } satisfies ForwardResult as ForwardResult
})
