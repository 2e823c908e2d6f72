/** Sarvam MLA: latent attention without a query rank, sigmoid-routed experts behind dense layers. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { latentMoe, latentMoeFields } from "./shared/mla.ts"
import { textLayout } from "./shared/textLayout.ts"

export const sarvamMla = family({
  name: "sarvam-mla",
  architectures: ["SarvamMLAForCausalLM"],
  config: () => z.looseObject(latentMoeFields),
  layout: textLayout,
  describe: (t, layout) =>
    latentMoe(t, layout, {
      dense: 1,
      expertBias: true,
      target: "megatron.bridge.models.sarvam.sarvam_provider.SarvamMLAModelProvider",
      extra: { make_vocab_size_divisible_by: 128, moe_router_score_function: "sigmoid" }
    })
})
