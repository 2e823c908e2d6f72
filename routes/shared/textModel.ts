/** The description of a text-only GPT: what its family leaves open is the table of one layer and the provider. */
import type { Carried, FamilyDescription, ZeroFilled } from "../../src/bridge/Family.ts"
import type { Row } from "../../src/bridge/Mapping.ts"
import type { Provider } from "../../src/runconfig/Provider.ts"
import { rows, type Table } from "../../src/bridge/Registry.ts"
import { gpt, transformerLayer } from "../../src/model/gpt.ts"
import type { NormPlacement } from "../../src/model/modules.ts"
import type { Scope } from "../../src/model/Scope.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"
import type { ForwardFacts } from "../../src/model/Forward.ts"
import { frameRows, rotaryBuffers, vocabularyOf } from "./llama.ts"

/** The provider class of models without one of their own. */
export const GPT = "megatron.bridge.models.gpt_provider.GPTModelProvider"

/** What a text model is besides its frame (embedding, final norm, head). */
export interface TextModel {
  readonly tc: TransformerConfig
  /** Rows of one decoder layer, below `decoder.layers.*.` and `model.layers.*.`. */
  readonly table: Table
  readonly provider: Provider
  /** What it computes, if the forward check knows all of it. */
  readonly forward?: ForwardFacts | undefined
  /** Rows that stand before the common ones (and win), e.g. of multi-token prediction or of single layers. */
  readonly rows?: ReadonlyArray<Row>
  readonly carried?: ReadonlyArray<Carried>
  readonly mtpFields?: ReadonlyArray<string>
  readonly norms?: NormPlacement
  /** The HF embedding, if it is not `embed_tokens`. */
  readonly embedding?: string
  readonly notes?: ReadonlyArray<string>
  readonly zeroFilled?: ZeroFilled
  /** Instead of a plain GPT. */
  readonly build?: (s: Scope) => void
}

const DENSE = { linearAttention: false, moe: false }

/** Rotary buffers are carried; there are no MIMO components. */
export const textModel = ({ build, carried = [], embedding = "embed_tokens", forward, norms, rows: own = [], table, tc, ...slots }: TextModel): FamilyDescription => ({
  ...slots,
  modules: [{
    kind: "language",
    path: "",
    config: tc,
    ...(forward ? { forward } : {}),
    build: build ?? ((s) => gpt(s, tc, norms ? { layer: (layer) => transformerLayer(layer, tc, DENSE, { norms }) } : {}))
  }],
  rows: [...own, ...frameRows({ embedding }), ...rows("decoder.layers.*.", "model.layers.*.", table)],
  carried: [...rotaryBuffers(), ...carried],
  vocabulary: vocabularyOf(tc, { embedding })
})
