import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { checkpointPath, modelPath } from "../../api/conversions.ts"
import { type ComputeChoice, computeChoices, FORWARD_DEFAULTS, forwardCheck } from "../../api/forward.ts"
import { attempt } from "../../api/ground.ts"
import { UsageError } from "../../errors.ts"
import * as flags from "../flags/index.ts"
import { renderForward } from "../forwardText.ts"
import { emit } from "../output.ts"
import { pathArgument, pathFlag } from "../paths.ts"
import { withProgress } from "../progress.ts"

/** More are no answer to anything. */
const MOST_NEXT = 1000

const idsOf = (text: string): ReadonlyArray<number> => {
  const words = text.split(/[\s,]+/).filter((word) => word !== "")
  const wrong = words.find((word) => !/^\d{1,9}$/.test(word))
  if (wrong !== undefined) throw new UsageError({ problem: `--tokens: ${wrong} is no token id`, hint: "--tokens 1,2,3" })
  return words.map(Number)
}

export const forwardCommand = Command.make("forward", {
  path: pathArgument("path", "directory").pipe(Argument.withDescription("Hugging Face directory, or Megatron checkpoint")),
  hfModel: flags.hfModel.pipe(Flag.withDescription("Of a Megatron checkpoint: the Hugging Face directory whose config.json describes it, or Org/Name of a model in the Hub's cache. Default: what its run_config.yaml or the arguments of its run say"), Flag.optional),
  tokens: Flag.String("tokens").pipe(Flag.withMetavar("IDS"), Flag.withDescription("Token ids, separated by commas"), Flag.optional),
  text: Flag.String("text").pipe(
    Flag.withMetavar("TEXT"),
    Flag.withDescription("A text instead, by the model's tokenizer.json; needs the package @huggingface/tokenizers"),
    Flag.optional
  ),
  adapter: pathFlag("adapter", "directory").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription("Compute with an adapter besides: a directory of peft, or a Megatron checkpoint with adapters. Repeatable"),
    Flag.between(0, 16)
  ),
  top: Flag.Int("top").pipe(Flag.withMetavar("N"), Flag.withDescription(`How many of the likeliest next tokens are shown. Default ${FORWARD_DEFAULTS.top}`), Flag.withDefault(FORWARD_DEFAULTS.top as number)),
  compute: Flag.Literals("compute", computeChoices as unknown as [ComputeChoice, ...Array<ComputeChoice>]).pipe(
    Flag.withDescription("Who multiplies matrices: our own WebAssembly vectors (simd), TensorFlow.js where it is installed (tfjs), or (auto, the default) its native form if there is one, else simd"),
    Flag.withDefault(FORWARD_DEFAULTS.compute as ComputeChoice)
  ),
  ...flags.engine,
  family: flags.family,
  ...flags.told
}, Effect.fn("forward")(function*(input) {
  const engine = yield* attempt(() => flags.engineOptions(input))
  const tokens = yield* attempt(() => Option.getOrUndefined(Option.map(input.tokens, idsOf)))
  if (!(input.top >= 0 && input.top <= MOST_NEXT)) return yield* new UsageError({ problem: `--top ${input.top}: between 0 and ${MOST_NEXT}` })
  const families = yield* flags.namedFamilies(input)
  const path = yield* checkpointPath(input.path)
  const hfModel = Option.isSome(input.hfModel) ? yield* modelPath(input.hfModel.value) : undefined
  const report = yield* withProgress("computing", input, ({ onProgress }) =>
    forwardCheck(path, {
      ...engine,
      ...families,
      ...(hfModel === undefined ? {} : { hfModel }),
      ...(tokens === undefined ? {} : { tokens }),
      ...(Option.isSome(input.text) ? { text: input.text.value } : {}),
      adapters: input.adapter.map((path) => ({ path })),
      top: input.top,
      compute: input.compute,
      onProgress
    }))
  yield* emit("forward", input, report, renderForward)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo forward ./hf --adapter ./adapter --tokens 11,22,33,44", description: "With an adapter, as serving it without a merge would be" },
    { command: "convert_megatron_mimo forward ./hf --text 'The capital of France is'", description: "A Hugging Face directory, with its tokenizer" },
    { command: "convert_megatron_mimo forward ./megatron --hf-model ./hf --tokens 11,22,33,44", description: "A Megatron checkpoint: the same numbers, if it is the same model" }
  ])
)
