/** Provider sections of `run_config.yaml`: the model's own TransformerConfig fields, and what else its class must be told. */
import { float, pythonName, type Provider, type PythonValue } from "../../src/runconfig/Provider.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"

/** The dtype of a model, as config.json names it. */
export type Dtype = "bfloat16" | "float16" | "float32"

/** Fields that every provider takes. */
export interface CommonFields {
  readonly dtype: Dtype
  readonly activation?: string
  readonly layernorm_epsilon?: number | null | undefined
  readonly init_method_std?: number | null | undefined
  readonly rotary_base?: number | null | undefined
  readonly rotary_percent?: number | null | undefined
  readonly seq_length?: number | null | undefined
}

type Optional = PythonValue | undefined

/** Drop what is undefined; `null` is a value. */
export const defined = (fields: Readonly<Record<string, Optional>>): Record<string, PythonValue> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Record<string, PythonValue>

/** Some fields of an HF config section, by the same names. */
export const pick = <T extends object, K extends keyof T & string>(section: T, fields: ReadonlyArray<K>): Record<string, PythonValue> =>
  defined(Object.fromEntries(fields.map((field) => [field, section[field] as Optional])))

const floatOr = (value: number | null | undefined): Optional => (value === null || value === undefined ? undefined : float(value))

/** The vocabulary is padded to multiples of its own largest power of two, up to 128, where a trainer pads it at all. */
const paddedTo = (vocabulary: number): number => {
  let step = 128
  while (vocabulary % step !== 0) step /= 2
  return step
}

/** `target`: dotted class of the standard provider. `extra` wins over everything. */
export const gptProvider = (
  target: string,
  tc: TransformerConfig,
  common: CommonFields,
  extra: Readonly<Record<string, Optional>> = {},
  options: Pick<Provider, "mimo" | "refuses"> = {}
): Provider => {
  const { activation = "torch.nn.functional.silu", dtype } = common
  return {
    target,
    ...(options.mimo ? { mimo: true } : {}),
    ...(options.refuses ? { refuses: options.refuses } : {}),
    fields: {
      ...defined({ ...tc }),
      ...defined({
        mtp_num_layers: tc.mtp_num_layers || null,
        // Explicit, because the plain class learns its positions.
        position_embedding_type: "rope",
        make_vocab_size_divisible_by: paddedTo(tc.vocab_size),
        activation_func: pythonName(activation),
        bf16: dtype === "bfloat16",
        fp16: dtype === "float16",
        params_dtype: pythonName(`torch.${dtype}`),
        layernorm_epsilon: floatOr(common.layernorm_epsilon),
        init_method_std: floatOr(common.init_method_std),
        rotary_base: common.rotary_base ?? undefined,
        rotary_percent: floatOr(common.rotary_percent),
        seq_length: common.seq_length ?? undefined,
        ...extra,
        // The trainer's experts refuse to fuse theirs.
        ...(tc.num_moe_experts && tc.add_bias_linear ? { bias_dropout_fusion: false } : {})
      })
    }
  }
}
