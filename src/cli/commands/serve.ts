import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { checkpointPath, modelPath } from "../../api/conversions.ts"
import { SERVE_BOUNDS, SERVE_DEFAULTS, serveWeights } from "../../api/serve.ts"
import { attempt } from "../../api/ground.ts"
import { UsageError } from "../../errors.ts"
import { safeJson } from "../../quote.ts"
import * as flags from "../flags/index.ts"
import { emit } from "../output.ts"
import { pathArgument } from "../paths.ts"
import { withProgress } from "../progress.ts"
import { renderListening, renderServed } from "../serveText.ts"
import { tell } from "../streams.ts"

/** More is no gathering. */
const LONGEST_GATHER = 3_600_000

export const serveCommand = Command.make("serve", {
  path: pathArgument("path", "directory").pipe(Argument.withDescription("Megatron checkpoint, or Hugging Face directory")),
  hfModel: flags.hfModel.pipe(Flag.withDescription("Of a Megatron checkpoint: the Hugging Face directory whose config.json describes it, or Org/Name. Default: what its run_config.yaml or the arguments of its run say"), Flag.optional),
  listen: Flag.String("listen").pipe(
    Flag.withMetavar("HOST:PORT"),
    Flag.withDescription(`Where to listen; with tls+ before it through TLS, with the certificate of MEGATRON_MIMO_TLS_CERT and MEGATRON_MIMO_TLS_KEY. Port 0 is any. Default ${SERVE_DEFAULTS.listen}`),
    Flag.withDefault(SERVE_DEFAULTS.listen as string)
  ),
  consumers: Flag.Int("consumers").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("Start as soon as N consumers are there, and end when N have got everything. Default: serve until interrupted"),
    Flag.optional
  ),
  gather: Flag.Int("gather").pipe(
    Flag.withMetavar("MS"),
    Flag.withDescription(`Milliseconds that the first consumer waits for others, so that one reading serves all. Default ${SERVE_DEFAULTS.gather}`),
    Flag.withDefault(SERVE_DEFAULTS.gather as number)
  ),
  ...flags.tensors,
  ...flags.engine,
  family: flags.family,
  ...flags.told
}, Effect.fn("serve")(function*(input) {
  const engine = yield* attempt(() => flags.engineOptions(input))
  const consumers = Option.getOrUndefined(input.consumers)
  if (consumers !== undefined && !(consumers >= 1 && consumers <= SERVE_BOUNDS.consumers)) return yield* new UsageError({ problem: `--consumers ${consumers}: between 1 and ${SERVE_BOUNDS.consumers}` })
  if (!(input.gather >= 0 && input.gather <= LONGEST_GATHER)) return yield* new UsageError({ problem: `--gather ${input.gather}: between 0 and ${LONGEST_GATHER}` })
  const families = yield* flags.namedFamilies(input)
  const path = yield* checkpointPath(input.path)
  const hfModel = Option.isSome(input.hfModel) ? yield* modelPath(input.hfModel.value) : undefined
  const report = yield* withProgress("serving", input, ({ onProgress }) =>
    serveWeights(path, {
      ...engine,
      ...families,
      ...(hfModel === undefined ? {} : { hfModel }),
      ...(consumers === undefined ? {} : { consumers, onProgress }),
      listen: input.listen,
      gather: input.gather,
      torchDtype: input.torchDtype,
      mtp: input.mtp,
      allowUnmapped: input.allowUnmapped,
      onListening: (listening) => {
        if (input.json) tell(`${safeJson({ event: "listening", ...listening })}\n`)
        else if (!input.quiet) tell(`${renderListening(listening)}\n`)
      }
    }))
  yield* emit("serve", input, report, renderServed)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo serve ./megatron --hf-model ./hf --listen 10.0.0.1:7070 --consumers 16", description: "Stream the weights once to sixteen rollout engines; MEGATRON_MIMO_TOKEN_FILE holds the secret" },
    { command: "convert_megatron_mimo serve ./hf", description: "A Hugging Face directory, on a port of this host that is free, until it is interrupted" }
  ])
)
