/**
 * The two layer specifications of Megatron-Core build the same layers of different modules, and name the norms in front of them
 * differently. Transformer Engine's fuses a norm with the linear module behind it (`linear_qkv.layer_norm_weight`); where that
 * cannot be (experts, latent attention's input) the norm is a module. The local one has modules only, and stores most of them under
 * Transformer Engine's names:
 *
 * | in a layer with        | Transformer Engine                              | local                              |
 * | ---------------------- | ----------------------------------------------- | ---------------------------------- |
 * | grouped-query attention and experts | `pre_mlp_layernorm.`               | `mlp.linear_fc1.layer_norm_`       |
 * | latent attention       | `self_attention.linear_{q,kv}_up_proj.layer_norm_` | `self_attention.{q,kv}_layernorm.` |
 * | latent attention and a dense MLP | `mlp.linear_fc1.layer_norm_`          | `pre_mlp_layernorm.`               |
 *
 * Models that are built without the table of names (towers, quantisation-aware layers) store every norm under the module's own name;
 * those are read as well. Gated delta nets, sparse indexers and hybrid layers exist in Transformer Engine's form only.
 * Source: `get_gpt_layer_local_submodules`, `get_gpt_layer_with_transformer_engine_submodules`, and what they wrote.
 */

/** Whose names the norms have. */
export type LayerSpec = "te" | "local"

/** Of a key: the layer it belongs to, the innermost one, and what is below it. */
const LAYER = /^(.*\b(?:layers(?:\.\d{1,6})?|transformer_layer|mtp_model_layer))\.([A-Za-z_]\w*\..+)$/

/** Modules of a layer as Megatron-Core builds it; one with others has a specification of its own, and its own names. */
const OWN: ReadonlySet<string> = new Set(["input_layernorm", "self_attention", "pre_mlp_layernorm", "mlp", "mixer", "norm"])

/** The same of its self-attention. */
const OWN_ATTENTION: ReadonlySet<string> = new Set(["linear_qkv", "linear_proj", "q_layernorm", "k_layernorm", "core_attention"])

/** What decides the names of a layer's norms: the modules in it, those in its self-attention, those that norms may stand beside, and the norms. */
interface Layer {
  readonly modules: Set<string>
  readonly attention: Set<string>
  readonly linears: Set<string>
  readonly norms: Set<string>
}

/** A norm's name in front of `weight` or `bias`, where it is a module or is fused with a linear one. */
const NORM = /^(.*(?:\.layer_norm_|(?:^|[._])(?:layer)?norm\.))(weight|bias)$/

/** The modules beside which a norm may stand: the name of each up to the weight. */
const LINEAR = /^(self_attention\.(?:linear_qkv|linear_q_up_proj|linear_kv_up_proj|in_proj)|mlp\.(?:linear_fc1|router)|mixer\.in_proj|self_attention|mlp)\.weight(?:_w)?(?:\.\w+)?$/

class Layers {
  readonly #layers = new Map<string, Layer>()
  /** Latent attention with an indexer: norms are modules in both specifications. */
  #sparse = false

  constructor(keys: Iterable<string>) {
    for (const key of keys) {
      const [, path, rest] = LAYER.exec(key) ?? []
      if (path === undefined) continue
      let layer = this.#layers.get(path)
      if (!layer) this.#layers.set(path, layer = { modules: new Set(), attention: new Set(), linears: new Set(), norms: new Set() })
      const [module, inner] = rest!.split(".", 2) as [string, string]
      layer.modules.add(module)
      if (module === "self_attention") layer.attention.add(inner)
      const linear = LINEAR.exec(rest!)?.[1]
      if (linear !== undefined) layer.linears.add(linear)
      const norm = NORM.exec(rest!)?.[1]
      if (norm !== undefined) layer.norms.add(norm)
      this.#sparse ||= rest!.includes("core_attention.indexer.")
    }
  }

  /** Undefined for a layer with a specification of its own. */
  #norms(path: string): ReadonlyArray<NormNames> | undefined {
    const layer = this.#layers.get(path)
    if (!layer || [...layer.modules].some((module) => !OWN.has(module))) return undefined
    const has = (linear: string): boolean => layer.linears.has(linear)
    const latent = has("self_attention.linear_kv_up_proj")
    const [dense, experts] = [has("mlp.linear_fc1"), has("mlp.router")]
    const fused = (linear: string, module: string, local: "same" | "module" = "same"): ReadonlyArray<NormNames> => {
      const te = `${linear}.layer_norm_`
      return has(linear) ? [{ te, local: local === "same" ? te : `${module}.`, own: `${module}.` }] : []
    }
    return [
      ...[...layer.attention].every((module) => OWN_ATTENTION.has(module)) ? fused("self_attention.linear_qkv", "input_layernorm") : [],
      ...fused("self_attention.in_proj", "input_layernorm"),
      ...fused("self_attention", "input_layernorm"),
      ...fused("mixer.in_proj", "norm"),
      ...this.#sparse ? [] : fused("self_attention.linear_q_up_proj", "self_attention.q_layernorm", "module"),
      ...this.#sparse ? [] : fused("self_attention.linear_kv_up_proj", "self_attention.kv_layernorm", "module"),
      ...fused("mlp.linear_fc1", "pre_mlp_layernorm", latent ? "module" : "same"),
      ...fused("mlp", "pre_mlp_layernorm"),
      ...experts && !dense ? [{ te: "pre_mlp_layernorm.", local: has("self_attention.linear_qkv") ? FC1_NORM : "pre_mlp_layernorm.", own: FC1_NORM }] : []
    ]
  }

  named(key: string, spec: LayerSpec): string {
    const [, path, rest] = LAYER.exec(key) ?? []
    const [, norm, end] = rest === undefined ? [] : NORM.exec(rest) ?? []
    if (norm === undefined) return key
    const name = this.#norms(path!)?.find(({ local, own, te }) => norm === te || norm === local || norm === own)?.[spec]
    // Where a norm has the name already, this is another one.
    return name === undefined || name === norm || this.#layers.get(path!)!.norms.has(name) ? key : `${path}.${name}${end}`
  }
}

/** One norm: its name by either specification, and the other name that it may be stored under. */
interface NormNames extends Readonly<Record<LayerSpec, string>> {
  readonly own: string
}

const FC1_NORM = "mlp.linear_fc1.layer_norm_"

/** A function that gives any of these keys (of a whole model, without wrappers) the name that it has by a specification. */
export const layerSpecNames = (keys: Iterable<string>): ((key: string, spec: LayerSpec) => string) => {
  const layers = new Layers(keys)
  return (key, spec) => layers.named(key, spec)
}

/** Layers that Megatron-Core's local specification has no form of: a name in one of them; undefined if there are none. */
export const withoutLocalForm = (keys: Iterable<string>): string | undefined =>
  Iterator.from(keys).find((key) => /(?:^|\.)(?:self_attention\.(?:in_proj|A_log|core_attention\.indexer)|mixer|mamba_mixer)\b/.test(key))
