/** The description of an encoder alone: what an assembly puts behind a modality. Its standard form is the encoder, at the root. */
import type { Carried, FamilyDescription } from "../../src/bridge/Family.ts"
import type { Row } from "../../src/bridge/Mapping.ts"
import { pythonName, type Provider } from "../../src/runconfig/Provider.ts"
import type { ModuleSource } from "../../src/model/ModelModule.ts"
import { activationOf } from "./activations.ts"
import { defined, type Dtype } from "./provider.ts"

/** No provider of the reference builds an encoder: its examples do, from this configuration. */
const CONFIG = "megatron.core.transformer.transformer_config.TransformerConfig"

/** What the trainer's configuration of an encoder says besides its sizes. */
export interface EncoderFields {
  readonly dtype?: Dtype | null | undefined
  readonly torch_dtype?: Dtype | null | undefined
  readonly layer_norm_eps?: number | null | undefined
  /** As config.json names it. */
  readonly activation?: string | null | undefined
}

interface EncoderModel {
  /** Name of the encoder below a modality of a MIMO model. */
  readonly encoder: string
  readonly tower: ModuleSource
  readonly rows: ReadonlyArray<Row>
  readonly fields: EncoderFields
  readonly carried?: ReadonlyArray<Carried>
  readonly notes?: ReadonlyArray<string>
}

const sizesOf = (tower: ModuleSource): Provider["fields"] => {
  if (tower.kind !== "vision" && tower.kind !== "audio") return {}
  const { ffn, gated, groups, heads, hidden, layers } = tower.sizes
  const c = tower.kind === "vision" ? tower.config : undefined
  return defined({
    num_layers: layers,
    hidden_size: hidden,
    num_attention_heads: heads,
    num_query_groups: groups ?? heads,
    ffn_hidden_size: ffn,
    gated_linear_unit: gated,
    normalization: c?.normalization,
    add_bias_linear: c?.add_bias_linear,
    add_qkv_bias: c?.add_qkv_bias
  })
}

/** An encoder alone. */
export const encoderModel = ({ carried = [], encoder, fields: f, notes = [], rows, tower }: EncoderModel): FamilyDescription => {
  const dtype = f.dtype ?? f.torch_dtype ?? "float32"
  return {
    encoder,
    modules: [tower],
    rows,
    carried,
    notes,
    provider: {
      target: CONFIG,
      fields: {
        ...sizesOf(tower),
        ...defined({
          activation_func: f.activation ? pythonName(activationOf(f.activation)) : undefined,
          layernorm_epsilon: typeof f.layer_norm_eps === "number" ? { $float: f.layer_norm_eps } : undefined,
          bf16: dtype === "bfloat16",
          fp16: dtype === "float16",
          params_dtype: pythonName(`torch.${dtype}`)
        })
      }
    }
  }
}

/** Rows of a tower in a model, as those of the tower alone: their names begin with `prefix` there. */
export const alone = (rows: ReadonlyArray<Row>, megatron: string, hf: string): ReadonlyArray<Row> =>
  rows.flatMap((row) => (row.megatron.startsWith(megatron) && row.hf.every((name) => name.startsWith(hf))
    ? [{ ...row, megatron: row.megatron.slice(megatron.length), hf: row.hf.map((name) => name.slice(hf.length)) }]
    : []))
