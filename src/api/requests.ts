/** What can be asked of a conversion, and what holds where nothing is said. The command line and the library have it from here. */
import { families as allFamilies } from "../../routes/index.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import type { LoadRoute } from "../mimo/loadRoute.ts"
import type { Form } from "../mimo/routing.ts"
import type { CheckpointFormat } from "../plan/ImportOptions.ts"
import type { MtpMode, TorchDtype } from "../plan/Options.ts"
import { UsageError } from "../errors.ts"
import { completeLayout, type Layout, resolveLayout, STANDARD_COMPONENT, standardLayout } from "../parallel/Layout.ts"
import { type ModuleParallelism, parseComponent, type PipelineSplit } from "../parallel/ModuleParallelism.ts"

export { mtpModes, torchDtypes } from "../plan/Options.ts"
export { loadRoutes } from "../mimo/loadRoute.ts"
export { MAX_RANKS } from "../parallel/ModuleParallelism.ts"
export type { CheckpointFormat, LoadRoute, MtpMode, PipelineSplit, TorchDtype }

/** Which models are known. */
export interface WithFamilies {
  /** The families to dispatch among; the built-in ones by default. */
  readonly families?: FamilyRegistry
}

export const familiesOf = ({ families = allFamilies }: WithFamilies): FamilyRegistry => families

/** What becomes of the tensors, in either direction. */
export interface TensorChoices {
  /** Cast floating tensors. Default `source`: every tensor keeps its own dtype. */
  readonly torchDtype?: TorchDtype
  /** Multi-token-prediction tensors. Default `keep`. */
  readonly mtp?: MtpMode
  /** Patterns (`*` stands for anything) of tensors that may stay behind. Default: none. */
  readonly allowUnmapped?: ReadonlyArray<string>
}

export const TENSOR_DEFAULTS = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const satisfies Required<TensorChoices>

/** The choices of a request, nothing else of it. */
export const tensorChoices = ({ allowUnmapped, mtp, torchDtype }: TensorChoices): Required<TensorChoices> => ({
  torchDtype: torchDtype ?? TENSOR_DEFAULTS.torchDtype,
  mtp: mtp ?? TENSOR_DEFAULTS.mtp,
  allowUnmapped: allowUnmapped ?? TENSOR_DEFAULTS.allowUnmapped
})

/** The one layout of a standard checkpoint; what is not given is 1. */
export interface StandardSizes extends Partial<Pick<ModuleParallelism, "tp" | "pp" | "ep" | "etp" | "pipeline">> {}

/** For which loader of a trainer the names are. */
export interface LoadRouteChoice {
  /**
   * How a MegatronMIMO run loads the checkpoint: `hook` before its components are wrapped (the default), `ddp` afterwards, as
   * `checkpoint.pretrained_checkpoint`, by names with `.module.`.
   */
  readonly loadRoute?: LoadRoute
}

/** What an import writes. */
export interface CheckpointChoices {
  /**
   * `torch_dist` (the default), or `tp_rank`: for each module a folder `tp_rank_NN/model_weights.pt` of each tensor-parallel rank, as the
   * scripts of LLaVA trainers load them.
   */
  readonly checkpointFormat?: CheckpointFormat
  /** Rows of the vocabulary's tables, zeros behind the model's own. Default: as many as there are, and as tensor parallelism asks for. */
  readonly paddedVocabulary?: number
  /**
   * What will not train: parts by name (`router`, `language`, `images`, `images.projector`, `encoders`, `projections`), or patterns of
   * parameters with a `*`. The plan tells what that is, and the model's configuration says it; weights are the same.
   */
  readonly freeze?: ReadonlyArray<string>
}

/** What can be said of an import. */
export interface ImportChoices extends TensorChoices, LoadRouteChoice, CheckpointChoices {}

/** The choices of an import's request that say something, nothing else of it. */
export const importChoices = ({ checkpointFormat, freeze, loadRoute, paddedVocabulary, ...rest }: ImportChoices) => ({
  ...tensorChoices(rest),
  ...(loadRoute === undefined ? {} : { loadRoute }),
  ...(checkpointFormat === undefined ? {} : { checkpointFormat }),
  ...(paddedVocabulary === undefined ? {} : { paddedVocabulary }),
  ...(freeze === undefined || freeze.length === 0 ? {} : { freeze })
})

/** In which form, and cut how. */
export interface Arrangement extends StandardSizes {
  /**
   * One model under one layout. Default: what the model is, MegatronMIMO if it has several components; with sizes but without
   * `components`, standard.
   */
  readonly standard?: boolean
  /** `name=tp=N[,pp=N,dp=N,cp=N,ep=N,etp=N,rank_offset=N]` for each component of a MegatronMIMO checkpoint. Default: tp=1 each, on consecutive ranks. */
  readonly components?: ReadonlyArray<string>
}

/** The layout of components by name. `judged`: the caller asks which rules components break; else the first one broken throws. */
export type MakeLayout = (names: ReadonlyArray<string>, options?: { readonly judged?: boolean }) => Layout

/** @throws UsageError `usage/layout` for components that are none, or together with what goes with a standard checkpoint only. */
export const arrange = ({ components = [], ep, etp, pipeline, pp, standard = false, tp }: Arrangement): { readonly form: Form | "auto"; readonly layout: MakeLayout; readonly said: string } => {
  const sizes = Object.fromEntries(Object.entries({ tp, pp, ep, etp, pipeline }).filter(([, size]) => size !== undefined)) as StandardSizes
  const [size] = Object.keys(sizes) as ReadonlyArray<keyof StandardSizes>
  const specs = components.map(parseComponent)
  if (specs.length > 0 && standard) throw new UsageError({ code: "usage/layout", problem: "--component and --standard exclude each other" })
  if (specs.length > 0 && size !== undefined) {
    const first = specs[0]!.name
    throw new UsageError({
      code: "usage/layout",
      problem: size === "pipeline" ? "these flags describe the pipeline of a standard checkpoint, --component those of one with components" : `--${size} gives one layout, --component one for each component`,
      hint: size === "pipeline" ? `--component ${first}=pp=N,first_stage_layers=N,… for one component` : `--component ${first}=${size}=${sizes[size]} for one component`
    })
  }
  return {
    said: JSON.stringify([standard, components, sizes]),
    form: standard || size !== undefined ? "standard" : specs.length > 0 ? "mimo" : "auto",
    layout: (names, { judged = false } = {}) =>
      names.length === 1 && names[0] === STANDARD_COMPONENT ? standardLayout(sizes) : (judged ? completeLayout : resolveLayout)(specs, names)
  }
}
