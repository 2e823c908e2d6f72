/**
 * Which shared tables the names below a layer belong to, and what they say of the TransformerConfig. Names alone decide, as published
 * models have them; what no table has is left to the reader.
 */
import { safeJson } from "../../src/quote.ts"
import type { Shape } from "../../src/tensor/Copy.ts"

/** Marks text from the checkpoint, in which nothing is taken for code of this file's. */
export const BORDER = "\u0001"

export const literal = (text: string): string => `${BORDER}${safeJson(text)}${BORDER}`

/** Where the generated file imports a name from, relative to `routes/`; undefined: from the bridge itself. */
export type Source = "blocks" | "biases" | "config" | "experts" | "llama" | "mla" | "moe" | "appendedMtp" | "textLayout" | "kinds" | "gpt" | "multimodal" | "projectors"

/** What the generated description consists of, besides what every family has. */
export interface LayerText {
  /** Names used, by where they come from. */
  readonly uses: ReadonlyMap<Source, ReadonlySet<string>>
  /** Lines of the table, in the order of the model. */
  readonly table: ReadonlyArray<string>
  /** Lines of the change to the TransformerConfig. */
  readonly config: ReadonlyArray<string>
  /** Lines of the provider's further fields. */
  readonly provider: ReadonlyArray<string>
  /** Fields that the schema must have beside the usual ones. */
  readonly fields: ReadonlyArray<string>
  readonly hasExperts: boolean
  /** Not every linear layer has a bias: an expression. */
  readonly biases: string | undefined
  /** Norms of inputs, of outputs, or of both. */
  readonly norms: "before" | "after" | "around"
  /** A norm over all query and all key heads at once. */
  readonly wideQkNorm: boolean
  /** HF name of the final norm of multi-token prediction as appended layers; undefined: there is none. */
  readonly appendedMtp: string | undefined
  /** Names that a table has. */
  readonly known: ReadonlySet<string>
}

/** Shapes by name below the layer, numbers as `*`, and the fields of config.json's text section. */
export interface LayerFacts {
  readonly shapes: ReadonlyMap<string, Shape>
  readonly config: Readonly<Record<string, unknown>>
}

const QKV = ["q", "k", "v"] as const

export class LayerReader {
  readonly #facts: LayerFacts
  readonly #uses = new Map<Source, Set<string>>()
  readonly #known = new Set<string>()
  readonly #table: Array<string> = []
  readonly #config: Array<string> = []
  readonly #provider: Array<string> = []
  readonly #fields: Array<string> = []

  constructor(facts: LayerFacts) {
    this.#facts = facts
  }

  read(): LayerText {
    const has = (...names: ReadonlyArray<string>) => names.every((name) => this.#facts.shapes.has(name))
    const norms = has("post_feedforward_layernorm.weight") ? (has("pre_feedforward_layernorm.weight") ? "around" : "after") : "before"
    const isLatent = has("self_attn.kv_a_proj_with_mqa.weight", "self_attn.kv_b_proj.weight")
    const wideQkNorm = this.#attention(has, isLatent)
    const mlpBias = this.#denseMlp(has)
    if (norms !== "before") this.#use("blocks", norms === "after" ? "afterNorms" : "aroundNorms", ["post_attention_layernorm.weight", "post_feedforward_layernorm.weight", "pre_feedforward_layernorm.weight"])
    if (has("input_layernorm.bias")) {
      this.#use("blocks", "layerNormBiases", ["input_layernorm.bias", "post_attention_layernorm.bias"])
      this.#config.push("normalization: \"LayerNorm\"")
    }
    const hasExperts = this.#experts(has)
    const finalNorm = has("eh_proj.weight") ? ["shared_head.norm.weight", "final_layernorm.weight"].find((name) => has(name)) : undefined
    if (finalNorm !== undefined) {
      this.#claim("appendedMtp", "appendedMtp", ["eh_proj.weight", "enorm.weight", "hnorm.weight", finalNorm, "embed_tokens.weight", "shared_head.head.weight"])
      this.#config.push("mtp_num_layers: modules")
    }
    const output = has("self_attn.o_proj.bias")
    const qkv = has("self_attn.q_proj.bias") || has("attention.query_key_value.bias")
    const biases = !output && !mlpBias ? undefined : `{ qkv: ${qkv}, output: ${output}, mlp: ${mlpBias} }`
    if (biases !== undefined) for (const name of ["biasFields", "withZeroBiases", "zeroBiases"]) this.#claim("biases", name, [])
    else if (qkv) this.#config.push("add_qkv_bias: true")
    return {
      uses: this.#uses, table: this.#table, config: this.#config, provider: this.#provider, fields: this.#fields, known: this.#known,
      hasExperts, biases, norms, wideQkNorm, appendedMtp: finalNorm
    }
  }

  /** Import `name` and take these names for known. */
  #claim(from: Source, name: string, names: ReadonlyArray<string>): void {
    this.#uses.set(from, (this.#uses.get(from) ?? new Set()).add(name))
    for (const one of names) if (this.#facts.shapes.has(one)) this.#known.add(one)
  }

  /** A line of the table that spreads a shared table, called with `call` if it is a function. */
  #use(from: Source, name: string, names: ReadonlyArray<string>, call = ""): void {
    this.#claim(from, name, names)
    this.#table.push(`...${from}.${name}${call}`)
  }

  /** A row of the family's own. */
  #row(megatron: string, hf: string, kind?: string): void {
    if (kind !== undefined) this.#claim("kinds", kind, [])
    this.#table.push(`${literal(megatron)}: ${kind === undefined ? literal(hf) : `kinds.${kind}(${literal(hf)})`}`)
  }

  #attention(has: (...names: ReadonlyArray<string>) => boolean, isLatent: boolean): boolean {
    const below = (names: ReadonlyArray<string>) => names.map((name) => `self_attn.${name}`)
    if (isLatent) {
      this.#use("mla", "latentAttentionRows", ["input_layernorm.weight", ...below(["o_proj.weight", "q_proj.weight", "q_a_proj.weight", "q_a_layernorm.weight", "q_b_proj.weight", "kv_a_proj_with_mqa.weight", "kv_a_layernorm.weight", "kv_b_proj.weight"])], "()")
      this.#claim("mla", "mlaOf", [])
      this.#claim("mla", "mlaFields", [])
      this.#claim("mla", "mlaRope", [])
      this.#fields.push("...mla.mlaFields")
      this.#config.push("...mla.mlaOf(t)")
      this.#provider.push("...mla.mlaRope(t)")
      return false
    }
    if (has("attention.query_key_value.weight", "attention.dense.weight")) {
      this.#use("blocks", "fusedAttention", ["input_layernorm.weight", "attention.query_key_value.weight", "attention.query_key_value.bias", "attention.dense.weight", "attention.query_layernorm.weight", "attention.key_layernorm.weight"])
      if (has("attention.query_layernorm.weight")) this.#config.push("qk_layernorm: true")
      return false
    }
    const fused = has("self_attn.qkv_proj.weight")
    if (!fused && !has(...QKV.map((part) => `self_attn.${part}_proj.weight`))) return false
    this.#use("blocks", "attention", ["input_layernorm.weight", ...below([...QKV.flatMap((part) => [`${part}_proj.weight`, `${part}_proj.bias`]), "o_proj.weight", "o_proj.bias"])])
    if (fused) {
      this.#row("self_attention.linear_qkv.weight", "self_attn.qkv_proj.weight", "concatenatedQkvOf")
      this.#claim("kinds", "concatenatedQkvOf", ["self_attn.qkv_proj.weight"])
    }
    if (!has("self_attn.q_norm.weight", "self_attn.k_norm.weight")) return false
    this.#use("blocks", "qkNorm", below(["q_norm.weight", "k_norm.weight"]))
    this.#config.push("qk_layernorm: true")
    const { head_dim: headDim, hidden_size: hidden, num_attention_heads: heads } = this.#facts.config
    const width = typeof headDim === "number" ? headDim : Number(hidden) / Number(heads)
    return this.#facts.shapes.get("self_attn.q_norm.weight")?.[0] !== width
  }

  /** Whether it has biases. */
  #denseMlp(has: (...names: ReadonlyArray<string>) => boolean): boolean {
    const fused = has("mlp.gate_up_proj.weight")
    const gated = fused || has("mlp.gate_proj.weight")
    if (!has("mlp.down_proj.weight") || (!gated && !has("mlp.up_proj.weight"))) return false
    this.#use("blocks", "denseMlp", ["post_attention_layernorm.weight", "mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight"])
    const bias = has("mlp.down_proj.bias")
    if (bias) this.#use("blocks", "mlpBiases", ["mlp.gate_proj.bias", "mlp.up_proj.bias", "mlp.down_proj.bias"])
    if (fused) {
      this.#row("mlp.linear_fc1.weight", "mlp.gate_up_proj.weight")
      this.#known.add("mlp.gate_up_proj.weight")
    } else if (!gated) {
      this.#row("mlp.linear_fc1.weight", "mlp.up_proj.weight")
      if (bias) this.#row("mlp.linear_fc1.bias", "mlp.up_proj.bias")
      this.#config.push("gated_linear_unit: false")
    }
    return bias
  }

  #experts(has: (...names: ReadonlyArray<string>) => boolean): boolean {
    const all = [...this.#facts.shapes.keys()]
    const first = all.find((name) => /(?:^|\.)experts\.(?:\*\.|gate_up_proj$)/.test(name))
    const module = first && /^(.*?experts)\./.exec(first)?.[1]
    if (module === undefined) return false
    const parts = all.filter((name) => name.startsWith(`${module}.`))
    const [up, down] = parts.some((name) => /\.\*\.w[123]\.weight$/.test(name)) ? ["{w1,w3}", "w2"] : ["{gate,up}_proj", "down_proj"]
    const isUsual = module === "mlp.experts" && down === "down_proj"
    const parent = module.slice(0, module.lastIndexOf(".") + 1)
    const gate = [`${parent}gate.weight`, `${parent}router.weight`, `${parent}router.gate.weight`].find((name) => has(name))
    if (gate === undefined) return false
    const bias = all.find((name) => name.startsWith(parent) && /(e_score_correction_bias|expert_bias)$/.test(name))
    this.#claim("moe", "router", ["post_attention_layernorm.weight", gate, ...(bias === undefined ? [] : [bias])])
    this.#table.push(`...moe.router(${[gate, ...(bias === undefined ? [] : [bias])].map((name) => literal(name)).join(", ")})`)
    this.#config.push("num_moe_experts: moe.expertsOf(t)", "moe_router_topk: t.num_experts_per_tok")
    this.#sharedExperts(has, parent)
    this.#claim("experts", "routedExperts", parts)
    const names = isUsual ? "" : `, { names: { module: ${literal(module)}, up: ${literal(up!)}, down: ${literal(down!)} } }`
    this.#table.push(`...experts.routedExperts(tc, lying${names})`)
    for (const name of ["expertsOf", "GROUPED"]) this.#claim("moe", name, [])
    this.#provider.push("...moe.GROUPED")
    if (bias !== undefined) {
      this.#claim("moe", "sigmoidRouter", [])
      this.#config.push("moe_router_enable_expert_bias: true")
      this.#provider.push("...moe.sigmoidRouter(t)")
    }
    const own = typeof this.#facts.config["moe_intermediate_size"] === "number"
    this.#fields.push("num_experts_per_tok: config.size", own ? "moe_intermediate_size: config.size" : "intermediate_size: config.size")
    this.#config.push(`moe_ffn_hidden_size: t.${own ? "moe_" : ""}intermediate_size`)
    if (has("mlp.down_proj.weight")) this.#denseLayers()
    return true
  }

  #sharedExperts(has: (...names: ReadonlyArray<string>) => boolean, parent: string): void {
    const prefix = [`${parent}shared_experts.`, `${parent}shared_expert.`].find((p) => has(`${p}down_proj.weight`))
    if (prefix === undefined) return
    const names = ["gate_proj", "up_proj", "down_proj"].map((name) => `${prefix}${name}.weight`)
    if (has("mlp.shared_expert_gate.weight")) {
      this.#use("blocks", "sharedExpertMoe", [...names, "mlp.shared_expert_gate.weight"])
      this.#config.push("moe_shared_expert_gate: true")
    } else this.#use("moe", "sharedExperts", names, prefix === "mlp.shared_experts." ? "()" : `(${literal(prefix)})`)
    if (typeof this.#facts.config["shared_expert_intermediate_size"] === "number") {
      this.#fields.push("shared_expert_intermediate_size: config.size")
      this.#config.push("moe_shared_expert_intermediate_size: t.shared_expert_intermediate_size")
    } else {
      this.#claim("moe", "sharedWidth", [])
      this.#config.push("moe_shared_expert_intermediate_size: moe.sharedWidth(t)")
    }
  }

  /** Dense layers among those with experts: which, is a matter of config.json. */
  #denseLayers(): void {
    const { config } = this.#facts
    this.#claim("moe", "BLOCK_SPEC", [])
    this.#provider.push("transformer_layer_spec: moe.BLOCK_SPEC")
    if ("decoder_sparse_step" in config || "mlp_only_layers" in config) {
      this.#claim("moe", "sparseStep", [])
      this.#claim("config", "many", [])
      this.#fields.push("decoder_sparse_step: config.size.nullish()", "mlp_only_layers: z.array(config.many).nullish()")
      this.#config.push("...moe.sparseStep(t)")
    } else {
      this.#claim("moe", "denseFirst", [])
      this.#config.push("moe_layer_freq: moe.denseFirst(t)")
    }
  }
}
