/**
 * Keys of adapters in a Megatron checkpoint: below the module that they adapt, which keeps its own key
 * (`decoder.layers.mlp.linear_fc1.weight` beside `decoder.layers.mlp.linear_fc1.adapter.linear_in.weight`)
 * (adapters-and-assembly.md 1.2).
 */

/**
 * Parts of a fused projection that have an adapter each in the canonical form: q, k, v of `linear_qkv`, gate and up of `linear_fc1`.
 */
export type AdapterSlot = "q" | "k" | "v" | "gate" | "up"

/** `linear_in`: `[rank, in]`; `linear_out`: `[out, rank]`; `magnitude`: `[out]`, the row lengths of DoRA. */
export type AdapterSide = "linear_in" | "linear_out" | "magnitude"

const ENDINGS: Readonly<Record<AdapterSide, string>> = { linear_in: "linear_in.weight", linear_out: "linear_out.weight", magnitude: "weight_magnitude" }

export const isAdapterKey = (key: string): boolean => key.includes(".adapter.")

/** The key of an adapter's tensor, from that of the weight which it adapts; undefined for what is no weight of a module. */
export const adapterKeyOf = (weightKey: string, side: AdapterSide, slot: AdapterSlot | undefined, part = ""): string | undefined => {
  const [, module] = /^(.*)\.weight(?:\.[^.]+)?$/.exec(weightKey) ?? []
  return module === undefined ? undefined : `${module}.adapter.${slot === undefined ? "" : `adapter_${slot}.`}${ENDINGS[side]}${part === "" ? "" : `.${part}`}`
}

/** The name of a part that a weight is stored in (`in_proj.weight.z`): `z`; undefined for a weight in one piece. */
export const partName = (weightKey: string): string | undefined => /\.weight\.([^.]+)$/.exec(weightKey)?.[1]
