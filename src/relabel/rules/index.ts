/** Every rule by the name that `--to` takes. */
import { toMimo, toStandard } from "./components.ts"
import { toGrouped, toSequential } from "./experts.ts"
import { toExtraStates } from "./extraStates.ts"
import { toGpt, toHybrid } from "./hybrid.ts"
import { toLocalSpec, toTeSpec } from "./layerSpec.ts"
import { toIndexed, toStacked } from "./layers.ts"
import { toMtpModelLayer, toTransformerLayer } from "./mtp.ts"
import type { Rule } from "./Rule.ts"
import { toTorchDist } from "./torchDist.ts"
import { toBridge, toMegatronLm } from "./trainer.ts"
import { toDdp, toPlain } from "./wrapper.ts"

export const rules = {
  "torch-dist": toTorchDist,
  mimo: toMimo,
  standard: toStandard,
  plain: toPlain,
  ddp: toDdp,
  indexed: toIndexed,
  stacked: toStacked,
  sequential: toSequential,
  grouped: toGrouped,
  hybrid: toHybrid,
  gpt: toGpt,
  "mtp-transformer-layer": toTransformerLayer,
  "mtp-model-layer": toMtpModelLayer,
  "te-spec": toTeSpec,
  "local-spec": toLocalSpec,
  "extra-states": toExtraStates,
  bridge: toBridge,
  "megatron-lm": toMegatronLm
} as const satisfies Record<string, Rule>

/** A naming or arrangement of Megatron tensors that a checkpoint can be brought to. */
export type RelabelTo = keyof typeof rules

/** All of them. */
export const relabelTargets = Object.keys(rules) as ReadonlyArray<RelabelTo>
