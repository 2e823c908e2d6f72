/** What is written, and whether something may be there already. */
import { Option } from "effect"
import { Flag } from "effect/cli"
import { loadRoutes, type MtpMode, mtpModes, TENSOR_DEFAULTS, type TensorChoices, type TorchDtype, torchDtypes } from "../../api/requests.ts"
import { onKept, onWait } from "../interruption.ts"
import type { Values } from "./Values.ts"
import { within } from "./within.ts"

export const loadRoute = Flag.Literals("load-route", loadRoutes).pipe(
  Flag.withDescription("How a MegatronMIMO run gets the imported weights: before its components are wrapped (hook, the default), or afterwards, as checkpoint.pretrained_checkpoint, by names with .module. (ddp)"),
  Flag.withDefault("hook" as const)
)

/** How parts that do not train are said. */
export const FROZEN_PARTS = "router, language, images, images.projector, encoders, projections, or a pattern of Megatron parameters with a *. Repeatable"

/** Parts of a model by name; `then` is what it is for. */
export const freeze = (then: string) => Flag.String("freeze").pipe(
  Flag.withMetavar("PART"),
  Flag.withDescription(`A part that does not train${then}: ${FROZEN_PARTS}`),
  Flag.between(0, 100)
)

/** What an import writes. */
export const written = {
  tpRankFiles: Flag.Boolean("tp-rank-files").pipe(
    Flag.withDescription("Instead of a torch_dist checkpoint write tp_rank_NN/model_weights.pt for each module, as the scripts of LLaVA trainers load them"),
    Flag.withDefault(false)
  ),
  megatronVocabSize: Flag.Int("megatron-vocab-size").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("Rows of the vocabulary in the Megatron checkpoint, zeros behind the model's own. Default: what tensor parallelism asks for"),
    Flag.optional
  ),
  freeze: freeze(", which the plan shows and the configuration says")
}

/** What {@link written} says, and {@link loadRoute}. */
export const importOptions = ({ freeze: frozen, loadRoute: route, megatronVocabSize, tpRankFiles }: Values<typeof written & { readonly loadRoute: typeof loadRoute }>) => {
  const rows = within(megatronVocabSize, "megatron-vocab-size", 1, 2 ** 31 - 1)
  return { loadRoute: route, ...(tpRankFiles ? { checkpointFormat: "tp_rank" as const } : {}), ...(rows === undefined ? {} : { paddedVocabulary: rows }), freeze: frozen }
}

export const torchDtype = Flag.Literals("torch-dtype", torchDtypes as [TorchDtype, ...Array<TorchDtype>]).pipe(
  Flag.withDescription("Cast floating tensors. Default source: every tensor keeps its own dtype"),
  Flag.withDefault(TENSOR_DEFAULTS.torchDtype as TorchDtype)
)

export const mtp = Flag.Literals("mtp", mtpModes as [MtpMode, ...Array<MtpMode>]).pipe(
  Flag.withDescription("Multi-token-prediction tensors: keep them (default), drop them, or require them to be there"),
  Flag.withDefault(TENSOR_DEFAULTS.mtp as MtpMode)
)

export const allowUnmapped = Flag.String("allow-unmapped").pipe(
  Flag.withMetavar("PATTERN"),
  Flag.withDescription("Leave tensors behind that nothing claims; `*` stands for anything. Repeatable; the report lists them"),
  Flag.between(0, 1000)
)

/** What becomes of tensors. */
export const tensors = { torchDtype, mtp, allowUnmapped }

export const tensorsOf = ({ allowUnmapped, mtp, torchDtype }: Values<typeof tensors>): TensorChoices => ({ torchDtype, mtp, allowUnmapped })

export const vocabSize = Flag.Int("vocab-size").pipe(
  Flag.withMetavar("N"),
  Flag.withDescription("Export N rows of the vocabulary and write N into config.json. Default: as many as config.json says, unless the checkpoint says that there are more"),
  Flag.optional
)

/** `vocabSize` of an export, if it is given. */
export const vocabularyOptions = (flag: Option.Option<number>): { readonly vocabSize?: number } => {
  const rows = within(flag, "vocab-size", 1, 2 ** 31 - 1)
  return rows === undefined ? {} : { vocabSize: rows }
}

export const overwrite = Flag.Boolean("overwrite").pipe(
  Flag.withDescription("Replace an existing target, once the new one is complete"),
  Flag.withDefault(false)
)

export const resume = Flag.Boolean("resume").pipe(
  Flag.withDescription("Go on with what an interrupted run of the same command left, checked block by block"),
  Flag.withDefault(false)
)

export const checksum = Flag.Boolean("checksum").pipe(
  Flag.withDescription(
    "Write checksums (.checksums.json) for verify --deep. Default: with an import; an export has the files of the original and no others. --no-checksum: never"
  ),
  Flag.optional
)

export const dryRun = Flag.Boolean("dry-run").pipe(Flag.withDescription("Print the plan and stop"), Flag.withDefault(false))

/** Of commands that publish what they write. */
export const published = { overwrite, resume, checksum, dryRun }

/** How a run begins. */
export const runStart = (flags: Values<Pick<typeof published, "overwrite" | "resume">>) => ({
  overwrite: flags.overwrite,
  resume: flags.resume,
  onKept,
  onWait
})

/** How a run begins and what it leaves. */
export const runOptions = (flags: Values<Pick<typeof published, "overwrite" | "resume" | "checksum">>) => ({
  ...runStart(flags),
  ...(Option.isSome(flags.checksum) ? { checksum: flags.checksum.value } : {})
})
