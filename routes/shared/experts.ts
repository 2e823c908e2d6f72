/** How routed experts lie in an HF checkpoint, read from its tensors, and the rows for each form. */
import { gatedMlpOf, packedExpertOf, type PackedExperts } from "../../src/bridge/kinds.ts"
import type { HfHeaders } from "../../src/bridge/Family.ts"
import type { Table } from "../../src/bridge/Registry.ts"
import { FormatError, some } from "../../src/errors.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"

export type ExpertForm =
  | { readonly kind: "separate" }
  | { readonly kind: "packed"; readonly gateUp: PackedExperts; readonly down: PackedExperts }

export interface ExpertSizes {
  readonly experts: number
  readonly hidden: number
  readonly ffn: number
}

const SEPARATE = /\.experts\.\d+\./
const PACKED = /\.experts\.(gate_up|down)_proj$/

/**
 * Packed (`experts.gate_up_proj` `[E, …]`, gate and up possibly apart) or one tensor per expert, for the layers below `prefix`.
 * Both at once is an error; without headers `otherwise` decides. A packed tensor is transposed if only the transposed shape fits: the reference's rule, by
 * which a square one stays as it is. `transposedByDefault` holds where there is no tensor to look at.
 */
export const expertForm = (
  headers: HfHeaders,
  prefix: string,
  { experts, ffn, hidden }: ExpertSizes,
  otherwise: "packed" | "separate",
  transposedByDefault = false
): ExpertForm => {
  const below = headers.names.filter((n) => n.startsWith(prefix))
  const packed = below.filter((n) => PACKED.test(n))
  const separate = below.filter((n) => SEPARATE.test(n))
  if (packed.length > 0 && separate.length > 0) {
    throw new FormatError(
      "config/mixed-experts",
      `some experts are packed (${some(packed, 3)}) and some are stored one by one (${some(separate, 3)})`,
      { tensor: packed[0] }
    )
  }
  if (separate.length > 0) return { kind: "separate" }
  if (packed.length === 0 && otherwise === "separate") return { kind: "separate" }
  const orientation = (name: string, out: number, input: number): PackedExperts => {
    const found = packed.find((n) => n.endsWith(name))
    const shape = found === undefined ? undefined : headers.tensor(found)?.shape
    const is = (...own: ReadonlyArray<number>) => String(shape?.slice(1)) === String(own)
    if (is(2, out / 2, input)) return { experts, transposed: false, apart: true }
    return { experts, transposed: is(out, input) ? false : is(input, out) || transposedByDefault }
  }
  return { kind: "packed", gateUp: orientation("gate_up_proj", 2 * ffn, hidden), down: orientation("down_proj", hidden, ffn) }
}

/** Rows of gated routed experts below a layer's `mlp.`. */
export const expertRows = (form: ExpertForm): Table =>
  form.kind === "packed"
    ? {
      "mlp.experts.linear_fc1.weight*": packedExpertOf(form.gateUp, "mlp.experts.gate_up_proj"),
      "mlp.experts.linear_fc2.weight*": packedExpertOf(form.down, "mlp.experts.down_proj")
    }
    : {
      "mlp.experts.linear_fc1.weight*": gatedMlpOf("mlp.experts.*.{gate,up}_proj.weight"),
      "mlp.experts.linear_fc2.weight*": "mlp.experts.*.down_proj.weight"
    }

/**
 * Rows of a model's routed experts, in the form that the checkpoint has them in below `model`; without headers `otherwise`.
 * `transposed`: packed tensors are `[E, in, out]` where there are none to look at.
 */
export const routedExperts = (
  { hidden_size: hidden, moe_ffn_hidden_size: ffn = 0, num_moe_experts: experts }: TransformerConfig,
  headers: HfHeaders,
  { model = "model.", otherwise = "separate", transposed = false }: { readonly model?: string; readonly otherwise?: ExpertForm["kind"]; readonly transposed?: boolean } = {}
): Table => expertRows(expertForm(headers, `${model}layers.`, { experts: experts ?? 0, hidden, ffn }, otherwise, transposed))

/** Rows of routed experts named `w1` (gate), `w3` (up), `w2` (down). */
export const blockSparseExperts: Table = {
  "mlp.experts.linear_fc1.weight*": gatedMlpOf("block_sparse_moe.experts.*.{w1,w3}.weight"),
  "mlp.experts.linear_fc2.weight*": "block_sparse_moe.experts.*.w2.weight"
}
