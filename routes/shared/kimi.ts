/** Provider constants of Kimi K2, which K2.5 has as its language model. */
import { float } from "../../src/runconfig/Provider.ts"
import { LATENT_FUSIONS } from "./fusions.ts"

export const kimiK2Extra = {
  ...LATENT_FUSIONS,
  seq_length: 4096,
  make_vocab_size_divisible_by: 1280,
  moe_router_load_balancing_type: "seq_aux_loss",
  moe_shared_expert_overlap: true,
  moe_aux_loss_coeff: float(0.001)
} as const
