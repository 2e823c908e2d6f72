/**
 * A GPT of channel-wise delta attention and gated latent attention, with dense layers and experts at a latent width. Every
 * attention and MLP, and the output, chooses its residual from earlier ones by a norm and a score.
 */
import { channelDeltaAttention, type DeltaSizes, gatedLatentAttention } from "./deltaAttention.ts"
import { gpt } from "./gpt.ts"
import { mlp, moe, norm } from "./modules.ts"
import { plainWeight } from "./plain.ts"
import type { Scope } from "./Scope.ts"
import { isMoe, type TransformerConfig } from "./TransformerConfig.ts"

const residual = (s: Scope, name: string, hidden: number): void => {
  plainWeight(s, `${name}_norm`, [hidden])
  plainWeight(s, `${name}_proj`, [1, hidden])
}

/** `isDelta`: which layers are delta attention; the others are gated latent attention. */
export const deltaGpt = (
  root: Scope,
  c: TransformerConfig,
  { delta, isDelta }: { readonly delta: DeltaSizes; readonly isDelta: (layer: number) => boolean }
): void =>
  gpt(root, c, {
    layer: (s, i) => {
      norm(s, "input_layernorm", c.hidden_size, c.normalization)
      if (isDelta(i)) channelDeltaAttention(s.at("self_attention"), c, delta)
      else gatedLatentAttention(s.at("self_attention"), c)
      norm(s, "pre_mlp_layernorm", c.hidden_size, c.normalization)
      if (isMoe(c, i)) {
        moe(s.at("mlp"), c)
        if (c.moe_latent_size) plainWeight(s, "mlp.routed_expert_norm", [c.moe_latent_size])
      } else mlp(s.at("mlp"), c, c.ffn_hidden_size)
      residual(s, "self_attention_res", c.hidden_size)
      residual(s, "mlp_res", c.hidden_size)
      if (i === c.num_layers - 1) residual(s, "output_attn_res", c.hidden_size)
    }
  })
