/** A mixture of experts with several sets of routed experts, each with a router of its own (one per modality), and common shared experts. */
import { mlp, moe, norm, selfAttention } from "./modules.ts"
import type { Scope } from "./Scope.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

/** One of the sets of routed experts of a layer. */
export interface ExpertSet {
  /** Name of the MoE module, e.g. `text_moe_layer`. */
  readonly name: string
  readonly experts: number
  readonly ffn: number
}

/** The sets in order, then the shared experts. */
export const dualMoe = (s: Scope, c: TransformerConfig, sets: ReadonlyArray<ExpertSet>): void => {
  for (const { experts, ffn, name } of sets) {
    moe(s.at(name), { ...c, num_moe_experts: experts, moe_ffn_hidden_size: ffn, moe_shared_expert_intermediate_size: null })
  }
  if (c.moe_shared_expert_intermediate_size) mlp(s.at("shared_experts"), c, c.moe_shared_expert_intermediate_size, { shared: true })
}

/** A decoder layer with {@link dualMoe} in place of its MLP. */
export const dualMoeLayer = (s: Scope, c: TransformerConfig, sets: ReadonlyArray<ExpertSet>): void => {
  selfAttention(s.at("self_attention"), c)
  norm(s, "pre_mlp_layernorm", c.hidden_size, c.normalization)
  dualMoe(s.at("mlp"), c, sets)
}
