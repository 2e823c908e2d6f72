/**
 * The inner layer of multi-token prediction: `mtp.layers.N.transformer_layer` on disk for GPT models; versions and models that
 * keep the in-memory name save `mtp_model_layer` (torch-dist-format.md D.3).
 */
import { modelKeys, rename } from "../Draft.ts"
import { noEquivalent, type Rule } from "./Rule.ts"

const INNER = ["transformer_layer", "mtp_model_layer"] as const

const toInner = (to: typeof INNER[number], name: string): Rule => (draft) => {
  const from = INNER.find((inner) => inner !== to)!
  const pattern = new RegExp(`((?:^|\\.)mtp\\.layers\\.\\d+\\.)${from}\\.`)
  const keys = modelKeys(draft)
  if (!keys.some((key) => pattern.test(key))) return noEquivalent(name, `no multi-token-prediction layer is called ${from}`)
  if (keys.some((key) => /mtp_model_layer\.layers\.\d+\./.test(key))) {
    return noEquivalent(name, "the inner model is a hybrid stack, which has no other name")
  }
  return rename(draft, (key) => key.replace(pattern, `$1${to}.`))
}

export const toTransformerLayer: Rule = toInner("transformer_layer", "mtp-transformer-layer")
export const toMtpModelLayer: Rule = toInner("mtp_model_layer", "mtp-model-layer")
