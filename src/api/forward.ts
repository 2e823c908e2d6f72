/** The forward check: what a checkpoint says to a text, computed on this machine, layer by layer. */
import { Effect } from "effect"
import { openBase } from "../adapters/BaseModel.ts"
import { loadAdapter } from "../adapters/merge/loadAdapter.ts"
import { type ComputeChoice, computeChoices, openArithmetic } from "../arithmetic/open.ts"
import type { EngineLimits } from "../engine/index.ts"
import { type JobError, UsageError } from "../errors.ts"
import { forward } from "../forward/forward.ts"
import { openHfDecoder, openMegatronDecoder, type OpenedDecoder } from "../forward/openDecoder.ts"
import { openTokenizer, requireTokenizer, type Tokenizer } from "../forward/tokenizer.ts"
import { converting } from "../io/attempt.ts"
import type { Disk } from "../io/Disk.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { kindOfPath } from "../space/openSpace.ts"
import { measured, type Watched } from "./progress.ts"
import { familiesOf, type WithFamilies } from "./requests.ts"

export { type ComputeChoice, computeChoices }

/** Likeliest next tokens that are told where nothing is said. */
export const FORWARD_DEFAULTS = { top: 5, compute: "auto" } as const

/** What is computed, on what, and with what. Either `tokens` or `text`. */
export interface ForwardRequest extends WithFamilies, Watched, EngineLimits {
  /** The Hugging Face directory that describes a Megatron checkpoint: its config.json, and its tokenizer. By default what the checkpoint says of itself. */
  readonly hfModel?: string
  /** By their ids. */
  readonly tokens?: ReadonlyArray<number>
  /** Read by the tokenizer.json of the model; needs the package `@huggingface/tokenizers`. */
  readonly text?: string
  /** Adapters that the base model is computed with, directories of `peft` or Megatron checkpoints: `W + s·(B·A)`, as serving without a merge does. */
  readonly adapters?: ReadonlyArray<{ readonly path: string; readonly weight?: number; readonly alpha?: number }>
  /** How many of the likeliest next tokens are told; 5 by default. */
  readonly top?: number
  /** Who multiplies matrices: native TensorFlow.js where it is installed, else our own vectors (`auto`, the default), or one of the two. */
  readonly compute?: ComputeChoice
  /** Told all logits, [tokens, width], of the vocabulary from `first` on, a part at a time. */
  readonly onLogits?: (logits: Float32Array, width: number, first: number) => void
}

/** A token that may come next. */
export interface NextToken {
  readonly id: number
  readonly logit: number
  readonly probability: number
  /** What it is as text, where there is a tokenizer. */
  readonly text?: string
}

/** What a decoder makes of a text. */
export interface ForwardReport {
  readonly path: string
  readonly kind: "hf" | "megatron"
  readonly architecture: string
  readonly family: string
  readonly layers: number
  readonly vocabulary: number
  /** Those that the base model was computed with. */
  readonly adapters: ReadonlyArray<{ readonly path: string; readonly rank: number; readonly alpha: number; readonly dora: boolean }>
  /** Bytes of parameters that were computed with; experts that no token goes through are not among them. */
  readonly bytes: number
  /** Who multiplied matrices: `simd`, `tfjs-node-gpu`, `tfjs-node`, `tfjs-wasm`. */
  readonly compute: string
  readonly tokens: ReadonlyArray<number>
  /** Natural logarithm of the probability of each token behind the first. */
  readonly logProbabilities: ReadonlyArray<number>
  /** exp of their negative mean; absent for a single token. */
  readonly perplexity?: number
  /** What may come behind the last token, likeliest first. */
  readonly next: ReadonlyArray<NextToken>
  readonly notes: ReadonlyArray<string>
}

/** The tokens of a request, and the tokenizer beside the model, where there is one. */
const tokensOf = Effect.fnUntraced(function*({ beside, directory }: OpenedDecoder, { text, tokens }: ForwardRequest) {
  const store = yield* storeInUse
  if ((text === undefined) === (tokens === undefined)) return yield* new UsageError({ problem: "the forward check takes either tokens or a text", hint: "--tokens 1,2,3, or --text 'Once upon a time'" })
  if (text === undefined) return { tokens: tokens!, tokenizer: beside === undefined ? undefined : yield* converting(() => openTokenizer(store, beside)) }
  const tokenizer = yield* converting(() => requireTokenizer(store, beside ?? directory))
  return { tokens: yield* converting(() => tokenizer.encode(text)), tokenizer }
})

const decoderAt = Effect.fnUntraced(function*(path: string, request: ForwardRequest) {
  const families = familiesOf(request)
  const kind = yield* kindOfPath(path)
  if (kind === "safetensors") {
    if (request.hfModel !== undefined) return yield* new UsageError({ problem: "a Hugging Face directory describes itself; --hf-model goes with a Megatron checkpoint" })
    return yield* openHfDecoder(families, path)
  }
  if (kind !== "megatron") return yield* new UsageError({ problem: "the forward check takes a Hugging Face directory or a Megatron checkpoint", hint: "A single data file does not say what model it is." })
  return yield* openMegatronDecoder(families, path, request.hfModel)
})

/** Adapters of the model that the directory `model` describes, in memory. */
const adaptersOf = Effect.fnUntraced(function*(model: string | undefined, request: ForwardRequest) {
  const { adapters: choices = [] } = request
  if (choices.length === 0) return []
  if (model === undefined) return yield* new UsageError({ problem: "an adapter beside a Megatron checkpoint needs --hf-model DIR, which names the weights that it adapts" })
  const base = yield* openBase(familiesOf(request), model)
  return yield* Effect.forEach(choices, ({ alpha, path, weight = 1 }) => loadAdapter(base, { path, weight, ...(alpha === undefined ? {} : { alpha }) }, "last"))
})

const withText = (tokenizer: Tokenizer | undefined, id: number): { readonly text?: string } => (tokenizer ? { text: tokenizer.decode(id) } : {})

/**
 * Run tokens through the decoder at `path`, a Hugging Face directory or a Megatron checkpoint. Every parameter is read once, in pieces;
 * numbers are 32-bit floats, whatever the weights are stored as.
 *
 * @throws Unsupported `unsupported/forward` for a model that computes what is not known here; UsageError; what opening the checkpoint throws.
 */
export const forwardCheck = (path: string, request: ForwardRequest): Effect.Effect<ForwardReport, JobError, Disk> =>
  Effect.gen(function*() {
    const { compute = FORWARD_DEFAULTS.compute, concurrency, io, maxMemory, onLogits, threads, top = FORWARD_DEFAULTS.top } = request
    const decoder = yield* decoderAt(path, request)
    const { tokenizer, tokens } = yield* tokensOf(decoder, request)
    const adapters = yield* adaptersOf(decoder.kind === "hf" ? path : request.hfModel, request)
    const arithmetic = yield* converting(() => openArithmetic(compute))
    const engine = Object.fromEntries(Object.entries({ concurrency, io, maxMemory, threads }).filter(([, value]) => value !== undefined))
    const { bytes, logProbabilities, next, perplexity } = yield* forward(decoder, tokens, {
      ...engine,
      ...measured("computing", request),
      arithmetic,
      adapters,
      top,
      ...(onLogits ? { onLogits } : {})
    })
    const { architecture, directory, family, kind, notes, plan } = decoder
    return {
      path: directory,
      kind,
      architecture,
      family,
      layers: plan.layers.length,
      vocabulary: plan.vocabulary,
      adapters: adapters.map(({ alpha, dora, path, rank }) => ({ path, rank, alpha, dora })),
      bytes,
      compute: arithmetic.name,
      tokens,
      logProbabilities,
      ...(perplexity === undefined ? {} : { perplexity }),
      next: next.at(-1)!.map(({ id, logProbability, logit }) => ({ id, logit, probability: Math.exp(logProbability), ...withText(tokenizer, id) })),
      notes
    } satisfies ForwardReport
  })
