/**
 * Folders of ranks as Megatron-LM saves them, made of a whole model by the rules of training-checkpoints.md 4: which rank holds what
 * under which name is spelled out here by the names of parameters, apart from the program's own table.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Parameter } from "../../../src/model/Parameter.ts"
import { PyFloat } from "../../../src/torch/PyValue.ts"
import type { PickleValue } from "../../../src/torch/PickleValue.ts"
import { namespace, orderedDict, Saved, dictOf } from "../../torch/savedFile.ts"

export interface Layout {
  readonly tp: number
  readonly pp: number
  readonly ep: number
  readonly etp: number
  readonly vpp: number
}

/** Values of a parameter: BF16 as 16-bit numbers, in C order. */
export interface Values {
  readonly shape: ReadonlyArray<number>
  readonly data: Uint16Array
}

/** Other values for every parameter, the same at every call. */
export const valuesOf = ({ name, shape }: Pick<Parameter, "name" | "shape">): Values => {
  let seed = [...name].reduce((h, c) => (h * 31 + c.charCodeAt(0)) >>> 0, 7)
  const data = Uint16Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => (seed = (seed * 1664525 + 1013904223) >>> 0) >>> 16)
  return { shape, data }
}

const rows = ({ data, shape }: Values, start: number, end: number): Values => {
  const width = data.length / shape[0]!
  return { shape: [end - start, ...shape.slice(1)], data: data.slice(start * width, end * width) }
}

const stackRows = (parts: ReadonlyArray<Values>): Values => ({
  shape: [parts.reduce((n, { shape }) => n + shape[0]!, 0), ...parts[0]!.shape.slice(1)],
  data: Uint16Array.from(parts.flatMap(({ data }) => [...data]))
})

const columns = ({ data, shape }: Values, start: number, end: number): Values => {
  const [height, width] = shape as [number, number]
  const out: Array<number> = []
  for (let row = 0; row < height; row++) for (let column = start; column < end; column++) out.push(data[row * width + column]!)
  return { shape: [height, end - start], data: Uint16Array.from(out) }
}

/** The columns of the table of axes. */
const AXIS_0 = /(word_embeddings\.weight|output_layer\.weight|linear_qkv\.(weight|bias)|linear_fc1\.(weight|bias)\d*|linear_q_proj\.weight|linear_q_up_proj\.weight|linear_kv_up_proj\.weight|in_proj\.weight|conv1d\.(weight|bias)|A_log|\.D|dt_bias|mixer\.norm\.weight|softmax_offset|eh_proj\.weight)$/
const AXIS_1 = /(linear_proj\.weight|linear_fc2\.weight\d*|out_proj\.weight)$/

/** Rows that are cut each by itself: `sizes` of the named parts of fused projections, halves where the MLP is gated. */
const partsOf = (name: string, extent: number, gated: boolean, sizes: Readonly<Record<string, ReadonlyArray<number>>>): ReadonlyArray<number> => {
  if (gated && /linear_fc1\.(weight|bias)\d*$/.test(name)) return [extent / 2, extent / 2]
  const known = Object.entries(sizes).find(([suffix]) => name.endsWith(suffix))
  return known ? known[1] : [extent]
}

export const sliceOf = (name: string, values: Values, rank: number, ranks: number, gated: boolean, sizes: Readonly<Record<string, ReadonlyArray<number>>>): Values => {
  if (AXIS_1.test(name)) {
    const width = values.shape[1]! / ranks
    return columns(values, rank * width, (rank + 1) * width)
  }
  if (!AXIS_0.test(name)) return values
  let start = 0
  return stackRows(partsOf(name, values.shape[0]!, gated, sizes).map((extent) => {
    const share = extent / ranks
    start += extent
    return rows(values, start - extent + rank * share, start - extent + (rank + 1) * share)
  }))
}

export interface ModelToWrite {
  readonly parameters: ReadonlyArray<Parameter>
  readonly layers: number
  readonly gated: boolean
  readonly experts: number
  /** Norms as modules of their own, experts one by one. */
  readonly local: boolean
  readonly tied?: true
  /** Named parts of fused projections, by the end of the parameter's name. */
  readonly partSizes: Readonly<Record<string, ReadonlyArray<number>>>
  readonly args: Readonly<Record<string, PickleValue>>
}

/** As a rank calls the parameter; undefined if it does not have it. */
const localName = (m: ModelToWrite, { expert, name, stage }: Parameter, { ep, pp, vpp }: Layout, at: { readonly pp: number; readonly ep: number; readonly chunk: number }): string | undefined => {
  const stages = pp * vpp
  const own = at.chunk * pp + at.pp
  let local = name
  if (typeof stage === "object") {
    const each = m.layers / stages
    if (Math.floor(stage.layer / each) !== own) return undefined
    local = local.replace(/\.layers\.\d+\./, `.layers.${stage.layer % each}.`)
  } else if (own !== (stage === "first" ? 0 : stages - 1)) return undefined
  if (expert) {
    const each = m.experts / ep
    if (Math.floor(expert.index / each) !== at.ep) return undefined
    const index = expert.index % each
    local = m.local ? local.replace(/experts\.(linear_fc[12])\.(weight|bias)\d+$/, `experts.local_experts.${index}.$1.$2`) : local.replace(/\d+$/, String(index))
  }
  if (!m.local) return local
  return local.replace("self_attention.linear_qkv.layer_norm_", "input_layernorm.").replace("mlp.linear_fc1.layer_norm_", "pre_mlp_layernorm.")
}

export interface WriteOptions {
  readonly beforeZip?: boolean
  readonly iteration?: number
  /** The state dict of a rank, changed. */
  readonly change?: (folder: string, state: Map<string, { values: Values }>) => void
  readonly folders?: (folder: string) => boolean
}

const bf16 = (saved: Saved, { data, shape }: Values): PickleValue => {
  const strides = shape.map((_, k) => shape.slice(k + 1).reduce((a, b) => a * b, 1))
  return saved.tensor({ kind: "BFloat16Storage", width: 2, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) }, shape, strides)
}

const pad = (n: number, width: number): string => String(n).padStart(width, "0")

/** Write `iter_0000003` and its tracker below `target`. */
export const writeRanks = (target: string, m: ModelToWrite, layout: Layout, options: WriteOptions = {}): void => {
  const { ep, etp, pp, tp, vpp } = layout
  const args = {
    num_layers: m.layers, tensor_model_parallel_size: tp, pipeline_model_parallel_size: pp, expert_model_parallel_size: ep, expert_tensor_parallel_size: etp,
    untie_embeddings_and_output_weights: !m.tied, swiglu: m.gated, ...m.args
  }
  const folderOf = (t: number, p: number, e: number) => `mp_rank_${pad(t, 2)}${pp > 1 ? `_${pad(p, 3)}` : ""}${ep > 1 ? `_${pad(e, 3)}` : ""}`
  mkdirSync(target, { recursive: true })
  writeFileSync(join(target, "latest_checkpointed_iteration.txt"), "3")
  for (let p = 0; p < pp; p++) {
    for (let e = 0; e < ep; e++) {
      for (let t = 0; t < tp; t++) {
        const folder = folderOf(t, p, e)
        // Where experts are cut otherwise than dense weights, only some pairs of ranks exist.
        if (etp !== tp && t % ep !== e) continue
        if (options.folders && !options.folders(folder)) continue
        const saved = new Saved()
        const models = Array.from({ length: vpp }, (_, chunk) => {
          const state = new Map<string, { values: Values }>()
          for (const parameter of m.parameters) {
            const name = localName(m, parameter, layout, { pp: p, ep: e, chunk })
            if (name === undefined) continue
            const [rank, ranks] = parameter.expert ? [t % etp, etp] : [t, tp]
            state.set(name, { values: sliceOf(parameter.name, valuesOf(parameter), rank, ranks, m.gated, m.partSizes) })
          }
          if (m.tied && pp > 1 && chunk * pp + p === pp * vpp - 1) {
            const embedding = m.parameters.find(({ name }) => name === "embedding.word_embeddings.weight")!
            state.set("output_layer.weight", { values: sliceOf(embedding.name, valuesOf(embedding), t, tp, false, {}) })
          }
          options.change?.(folder, state)
          return orderedDict([...state].flatMap(([name, { values }]) => [[name, bf16(saved, values)] as const, ...(name.endsWith("linear_proj.weight") ? [[name.replace(/weight$/, "_extra_state"), null] as const] : [])]))
        })
        const value = dictOf([
          ["args", namespace(args)],
          ["checkpoint_version", new PyFloat(3)],
          ["iteration", options.iteration ?? 3],
          ...(vpp === 1 ? [["model", models[0]!] as const] : models.map((model, i) => [`model${i}`, model] as const))
        ])
        mkdirSync(join(target, "iter_0000003", folder), { recursive: true })
        writeFileSync(join(target, "iter_0000003", folder, "model_optim_rng.pt"), options.beforeZip ? saved.beforeZip(value) : saved.archive("model_optim_rng", value))
      }
    }
  }
}
