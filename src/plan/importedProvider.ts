/** The provider of an import: the family's, with what the tensors and the options decided. Pure. */
import type { Conversion } from "../bridge/Conversion.ts"
import { type Provider, pythonName } from "../runconfig/Provider.ts"
import type { TorchDtype } from "./Options.ts"
import { paddingFields, type VocabularyPadding } from "./vocabulary.ts"

/** The trainer's model has the dtype that was asked for. */
const dtypeFields = (dtype: Exclude<TorchDtype, "source">): Provider["fields"] => ({
  bf16: dtype === "bfloat16",
  fp16: dtype === "float16",
  params_dtype: pythonName(`torch.${dtype}`)
})

export const importedProvider = (own: Provider, { hf }: Conversion, padding: VocabularyPadding | undefined, torchDtype: TorchDtype): Provider => {
  const hasMtp = hf.values().some((t) => t.mtp)
  return {
    ...own,
    fields: {
      ...own.fields,
      ...(hasMtp || !own.fields["mtp_num_layers"] ? {} : { mtp_num_layers: null }),
      ...(padding ? paddingFields(padding) : {}),
      ...(torchDtype === "source" ? {} : dtypeFields(torchDtype))
    }
  }
}
