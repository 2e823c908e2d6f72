/**
 * How routed experts lie in an HF checkpoint, read from its tensors, and the rows for each form: one tensor per expert, or all
 * packed into one, whatever the model calls its experts.
 */
import { gatedMlpOf, packedExpertOf, type PackedExperts } from "../../src/bridge/kinds.ts"
import type { HfHeaders } from "../../src/bridge/Family.ts"
import type { RowSource } from "../../src/bridge/Mapping.ts"
import type { Renaming } from "../../src/bridge/Spelling.ts"
import type { Table } from "../../src/bridge/Registry.ts"
import { FormatError, some } from "../../src/errors.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"
import type { Shape } from "../../src/tensor/Copy.ts"

/** What a checkpoint shows of its routed experts: one tensor for each projection of each, or all of a layer packed (with the shapes). */
export type ExpertLayout =
  | { readonly kind: "separate" }
  | { readonly kind: "packed"; readonly gateUp: Shape | undefined; readonly down: Shape | undefined }

/** How routed experts lie in a checkpoint. */
export type ExpertForm =
  | { readonly kind: "separate" }
  | { readonly kind: "packed"; readonly gateUp: PackedExperts; readonly down: PackedExperts }

/** Sizes of the routed experts, in elements. */
export interface ExpertSizes {
  readonly experts: number
  readonly hidden: number
  readonly ffn: number
}

const SEPARATE = /\.experts\.\d+\./
const PACKED = /\.experts\.(gate_up|up|down)_proj$/

/** How the experts of the layers below `model` lie; undefined where there are none to look at. Both ways at once: FormatError `config/mixed-experts`. */
export const expertLayout = (headers: HfHeaders, model = "model."): ExpertLayout | undefined => {
  const below = headers.names.filter((n) => n.startsWith(`${model}layers.`))
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
  if (packed.length === 0) return undefined
  const shapeOf = (name: string): Shape | undefined => {
    const found = packed.find((n) => n.endsWith(name))
    return found === undefined ? undefined : headers.tensor(found)?.shape
  }
  return { kind: "packed", gateUp: shapeOf("gate_up_proj"), down: shapeOf("down_proj") }
}

/**
 * The form of experts of these sizes; without a layout `otherwise` decides. A packed tensor is transposed if only the transposed shape
 * fits: the reference's rule, by which a square one stays as it is. `transposedByDefault` holds where there is no tensor to look at.
 */
export const expertForm = (
  layout: ExpertLayout | undefined,
  { experts, ffn, hidden }: ExpertSizes,
  otherwise: "packed" | "separate",
  transposedByDefault = false
): ExpertForm => {
  if ((layout?.kind ?? otherwise) === "separate") return { kind: "separate" }
  const { down, gateUp } = layout?.kind === "packed" ? layout : {}
  const orientation = (shape: Shape | undefined, out: number, input: number): PackedExperts => {
    const is = (...own: ReadonlyArray<number>) => String(shape?.slice(1)) === String(own)
    // Gate and up on an axis of their own.
    if (is(2, out / 2, input)) return { experts, transposed: false, apart: true }
    return { experts, transposed: is(out, input) ? false : is(input, out) || transposedByDefault }
  }
  return { kind: "packed", gateUp: orientation(gateUp, 2 * ffn, hidden), down: orientation(down, hidden, ffn) }
}

/** What a model calls its routed experts, below a layer; packed ones are `gate_up_proj` and `down_proj` everywhere. */
export interface ExpertNames {
  /** The module, e.g. `mlp.experts`. */
  readonly module: string
  /** Of a single expert: the gate and the up projection as one brace pattern, or the only one in front. */
  readonly up: string
  readonly down: string
}

const PROJECTIONS: ExpertNames = { module: "mlp.experts", up: "{gate,up}_proj", down: "down_proj" }

/** `w1` (gate), `w3` (up), `w2` (down). */
export const BLOCK_SPARSE: ExpertNames = { module: "block_sparse_moe.experts", up: "{w1,w3}", down: "w2" }

/** Libraries that call every MLP `mlp`. */
export const SPARSE_BLOCK: ReadonlyArray<Renaming> = [[".block_sparse_moe.", ".mlp."]]

/** Rows of gated routed experts below a layer. */
const expertRows = (form: ExpertForm, { down, module, up }: ExpertNames = PROJECTIONS): Table =>
  form.kind === "packed"
    ? {
      "mlp.experts.linear_fc1.weight*": packedExpertOf(form.gateUp, `${module}.gate_up_proj`),
      "mlp.experts.linear_fc2.weight*": packedExpertOf(form.down, `${module}.down_proj`)
    }
    : {
      "mlp.experts.linear_fc1.weight*": gatedMlpOf(`${module}.*.${up}.weight`),
      "mlp.experts.linear_fc2.weight*": `${module}.*.${down}.weight`
    }

/** Names and forms of the routed experts, where they are not the usual ones. */
export interface ExpertOptions {
  /** Without a layout. */
  readonly otherwise?: ExpertForm["kind"]
  /** Packed tensors are `[E, in, out]` where there are none to look at. */
  readonly transposed?: boolean
  readonly names?: ExpertNames
}

const formOf = (
  { hidden_size, moe_ffn_hidden_size: ffn = 0, moe_latent_size, num_moe_experts: experts }: TransformerConfig,
  layout: ExpertLayout | undefined,
  { otherwise = "separate", transposed = false }: ExpertOptions
): ExpertForm => expertForm(layout, { experts: experts ?? 0, hidden: moe_latent_size ?? hidden_size, ffn }, otherwise, transposed)

/** Rows of a model's routed experts, in the form that the checkpoint has them in. */
export const routedExperts = (tc: TransformerConfig, layout: ExpertLayout | undefined, options: ExpertOptions = {}): Table =>
  expertRows(formOf(tc, layout, options), options.names)

/** Rows of routed experts without a gate: `up_proj` and `down_proj` of each, or all packed. */
export const plainExperts = (tc: TransformerConfig, layout: ExpertLayout | undefined, module: string, options: ExpertOptions = {}): Table => {
  const form = formOf(tc, layout, options)
  const row = (name: string): string | RowSource =>
    form.kind === "separate" ? `${module}.*.${name}.weight` : packedExpertOf({ experts: tc.num_moe_experts ?? 0, transposed: false }, `${module}.${name}`)
  return { "mlp.experts.linear_fc1.weight*": row("up_proj"), "mlp.experts.linear_fc2.weight*": row("down_proj") }
}
