/** Kimi K2: the layers of DeepSeek V3, published without multi-token prediction. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { kimiK2Extra } from "./shared/kimi.ts"
import { latentMoe, latentMoeFields } from "./shared/mla.ts"
import { textLayout } from "./shared/textLayout.ts"

export const kimiK2 = family({
  name: "kimi-k2",
  architectures: ["KimiK2ForCausalLM"],
  config: () => z.looseObject(latentMoeFields),
  layout: textLayout,
  describe: (t, layout) =>
    latentMoe(t, layout, { dense: 1, expertBias: true, extra: { ...kimiK2Extra, moe_router_score_function: t.scoring_func ?? "sigmoid", mtp_num_layers: t.num_nextn_predict_layers ?? null } })
})
