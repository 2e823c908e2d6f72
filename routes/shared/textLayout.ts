/** What the tensors of a text model show: how its experts lie, and how many appended multi-token-prediction layers there are. */
import type { HfHeaders } from "../../src/bridge/Family.ts"
import { appendedModules } from "./appendedMtp.ts"
import { type ExpertLayout, expertLayout } from "./experts.ts"

/** What {@link textLayout} finds. */
export interface TextLayout {
  readonly experts: ExpertLayout | undefined
  /** Multi-token-prediction modules: as config.json says, or as many as there are. */
  readonly modules: number
}

/** For the layout slot of a family; `model`: where its decoder is. */
export const textLayout = (t: Parameters<typeof appendedModules>[1], headers: HfHeaders, model = "model."): TextLayout => ({
  experts: expertLayout(headers, model),
  modules: appendedModules(headers, t, (k) => `${model}layers.${t.num_hidden_layers + k}.`)
})
