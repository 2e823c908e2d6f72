/** Nemotron-H and Nemotron 3: hybrid text models. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { defaulted } from "./shared/config.ts"
import { hybridDecoder as textOf, nemotronHCarried, nemotronHCommon, nemotronHExtra, nemotronHFields, nemotronHLayout, nemotronHModule, nemotronHRows, nemotronHVocabulary } from "./shared/nemotronH.ts"
import { gptProvider } from "./shared/provider.ts"

export const nemotronH = family({
  name: "nemotron-h",
  architectures: ["NemotronHForCausalLM"],
  config: () => defaulted({ max_position_embeddings: 4096, n_group: 1, topk_group: 1, routed_scaling_factor: 1 }, z.looseObject(nemotronHFields)),
  spellings: [["^backbone.", "^model."]],
  layout: (_, headers) => nemotronHLayout(headers),
  describe: (t, layout) => {
    const text = textOf(t)
    return {
      modules: [nemotronHModule("", t, text)],
      rows: nemotronHRows(text, layout),
      provider: gptProvider("megatron.bridge.models.hybrid.hybrid_provider.HybridModelProvider", text.tc, nemotronHCommon(t), nemotronHExtra(t, text)),
      carried: nemotronHCarried(text, layout),
      vocabulary: nemotronHVocabulary(text),
      mtpFields: ["num_nextn_predict_layers"]
    }
  }
})
