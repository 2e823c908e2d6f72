/**
 * Multi-token prediction as layers appended to the decoder: module k is HF layer L + k, where L is the number of decoder
 * layers. Its embedding and head are copies of the main ones; Megatron shares those and has no place for the copies.
 */
import { FormatError } from "../../src/errors.ts"
import type { Carried, HfHeaders } from "../../src/bridge/Family.ts"
import type { Row } from "../../src/bridge/Mapping.ts"
import { rows, type Table } from "../../src/bridge/Registry.ts"

const REPEATED = "appended layers repeat the model's embedding and head"

/** Why multi-token prediction is carried where it is. */
export const NO_PREDICTION = "the trainer's model has no module for multi-token prediction"

/** Where the layers of multi-token prediction stand, and under which names. */
export interface AppendedMtp {
  /** Decoder layers. */
  readonly layers: number
  readonly modules: number
  /** Rows of the inner layer. */
  readonly table: Table
  /** HF name of the final norm, below the layer. */
  readonly finalNorm?: string
  /** HF name of the head's copy, below the layer. */
  readonly head?: string
  readonly tied?: boolean
  /** HF name of the main head. */
  readonly mainHead?: string
  readonly megatron?: string
  readonly model?: string
  readonly embedding?: string
}

/** Number of modules: as the config says, or as many as the checkpoint has, for configs that do not say. */
export const appendedModules = (
  headers: HfHeaders,
  c: { readonly num_hidden_layers: number; readonly num_nextn_predict_layers?: number | null | undefined },
  place = (k: number) => `model.layers.${c.num_hidden_layers + k}.`
): number => {
  if (typeof c.num_nextn_predict_layers === "number") return c.num_nextn_predict_layers
  let k = 0
  while (headers.tensor(`${place(k)}eh_proj.weight`)) k++
  return k
}

/** Each has rows of its own. */
const MOST_MODULES = 100

/** Their rows, and the copies of embedding and head that travel beside the model. */
export const appendedMtp = ({
  embedding = "embed_tokens.weight",
  finalNorm = "shared_head.norm.weight",
  head = "shared_head.head.weight",
  layers,
  mainHead = "lm_head.weight",
  megatron = "",
  model = "model.",
  modules,
  table,
  tied = false
}: AppendedMtp): { readonly rows: ReadonlyArray<Row>; readonly carried: ReadonlyArray<Carried> } => {
  if (modules > MOST_MODULES) {
    throw new FormatError("config/too-many-parts", `${modules} multi-token-prediction layers; models have a few`, { field: "num_nextn_predict_layers" })
  }
  const places = Array.from({ length: modules }, (_, k) => [`${megatron}mtp.layers.${k}.`, `${model}layers.${layers + k}.`] as const)
  return {
    rows: places.flatMap(([own, hf]) => [
      ...rows(own, hf, {
        "enorm.weight": "enorm.weight",
        "hnorm.weight": "hnorm.weight",
        "eh_proj.weight": "eh_proj.weight",
        "final_layernorm.weight": finalNorm
      }),
      ...rows(`${own}mtp_model_layer.`, hf, table)
    ]),
    carried: places.flatMap(([, hf]) => [
      { pattern: hf + embedding, alias: model + embedding, why: REPEATED },
      { pattern: hf + head, alias: tied ? model + embedding : mainHead, why: REPEATED }
    ])
  }
}

/** Every HF tensor of appended layers, as patterns: for a trainer whose model has no module for them. */
export const appendedCarried = (mtp: AppendedMtp): ReadonlyArray<Carried> => {
  const { carried, rows: own } = appendedMtp(mtp)
  return [...carried, ...[...new Set(own.flatMap((row) => row.hf))].map((pattern) => ({ pattern, why: NO_PREDICTION }))]
}
