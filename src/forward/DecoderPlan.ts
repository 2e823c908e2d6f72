/**
 * A decoder as the forward check runs it: its layers with the parameters that each module has, found by their names below the language
 * model. What is not understood is refused here, before anything is read.
 */
import type { Activation, AttentionFacts, ForwardFacts, LimitedGate, RouterFacts } from "../model/Forward.ts"
import type { AttentionBlock, ExpertsBlock, LatentAttentionBlock, MlpBlock, PlacedBlock } from "../model/Block.ts"
import type { LanguageFacts } from "../model/ModelModule.ts"
import { some, Unsupported } from "../errors.ts"

/** `P`: what a parameter is known by. */
export interface Linear<P> {
  readonly weight: P
  readonly bias?: P
}

/** With a bias it is a LayerNorm. */
export interface Norm<P> {
  readonly weight: P
  readonly bias?: P
}

export interface AttentionPlan<P> {
  readonly kind: "attention"
  readonly block: AttentionBlock
  readonly facts: AttentionFacts
  /** Absent: the layer's input is taken as it is. */
  readonly norm?: Norm<P>
  readonly qkv: Linear<P>
  readonly queryNorm?: Norm<P>
  readonly keyNorm?: Norm<P>
  /** A score per head that takes its share of the softmax and has no value. */
  readonly sinks?: P
  readonly output: Linear<P>
  readonly outputNorm?: Norm<P>
}

export interface LatentAttentionPlan<P> {
  readonly kind: "latent-attention"
  readonly block: LatentAttentionBlock
  readonly facts: AttentionFacts
  readonly norm?: Norm<P>
  readonly query: Linear<P> | { readonly down: Linear<P>; readonly norm?: Norm<P>; readonly up: Linear<P> }
  readonly down: Linear<P>
  readonly latentNorm?: Norm<P>
  readonly up: Linear<P>
  readonly output: Linear<P>
  readonly outputNorm?: Norm<P>
}

/** Two matrices; three where gated. */
export interface MlpPlan<P> {
  readonly kind: "mlp"
  readonly block: Pick<MlpBlock, "ffn" | "gated">
  readonly norm?: Norm<P>
  readonly up: Linear<P>
  readonly down: Linear<P>
  /** Weighs each token's output by a scalar of its own. */
  readonly tokenGate?: P
  readonly outputNorm?: Norm<P>
}

export interface ExpertsPlan<P> {
  readonly kind: "experts"
  readonly block: ExpertsBlock
  readonly facts: RouterFacts
  readonly perToken: number
  readonly norm?: Norm<P>
  readonly router: Linear<P>
  readonly correction?: P
  readonly experts: ReadonlyArray<Pick<MlpPlan<P>, "up" | "down">>
  readonly shared?: MlpPlan<P>
}

export interface LayerPlan<P> {
  readonly attention: AttentionPlan<P> | LatentAttentionPlan<P>
  readonly mlp: MlpPlan<P> | ExpertsPlan<P>
}

export interface DecoderPlan<P> {
  readonly hidden: number
  readonly vocabulary: number
  readonly facts: ForwardFacts
  readonly activation: Activation | LimitedGate
  readonly embedding: P
  readonly layers: ReadonlyArray<LayerPlan<P>>
  readonly norm: Norm<P>
  /** [vocabulary, hidden]; the embedding where the two are one. */
  readonly head: P
}

const refuse = (what: string, problem: string): Unsupported =>
  new Unsupported({
    code: "unsupported/forward",
    what,
    problem,
    hint: "The forward check knows softmax attention, latent attention, dense, gated and mixed MLPs (docs/forward-check.md)."
  })

/** NamedParameters by name, each to be taken once. */
class NamedParameters<P> {
  readonly #left: Map<string, P>

  constructor(parameters: ReadonlyMap<string, P>) {
    this.#left = new Map(parameters)
  }

  get left(): ReadonlyArray<string> {
    return [...this.#left.keys()]
  }

  find(name: string): P | undefined {
    const found = this.#left.get(name)
    this.#left.delete(name)
    return found
  }

  take(name: string): P {
    const found = this.find(name)
    if (found === undefined) throw new RangeError(`the model has no parameter ${name}`)
    return found
  }

  /** `<path>.weight<suffix>` and its bias. */
  linear(path: string, suffix = ""): Linear<P> {
    const bias = this.find(`${path}.bias${suffix}`)
    return { weight: this.take(`${path}.weight${suffix}`), ...(bias === undefined ? {} : { bias }) }
  }

  /** `<name>weight` and its bias, if there is such a norm; else one of the others. */
  norm<Name extends string>(as: Name, ...names: ReadonlyArray<string>): { readonly [K in Name]?: Norm<P> } {
    for (const name of names) {
      const weight = this.find(`${name}weight`)
      if (weight === undefined) continue
      const bias = this.find(`${name}bias`)
      return { [as]: { weight, ...(bias === undefined ? {} : { bias }) } } as { readonly [K in Name]?: Norm<P> }
    }
    return {}
  }

  optional<Name extends string>(as: Name, name: string): { readonly [K in Name]?: P } {
    const found = this.find(name)
    return (found === undefined ? {} : { [as]: found }) as { readonly [K in Name]?: P }
  }
}

const attentionPlan = <P>(p: NamedParameters<P>, layer: string, block: AttentionBlock, facts: AttentionFacts): AttentionPlan<P> => {
  const at = `${layer}self_attention.`
  return {
    kind: "attention",
    block,
    facts,
    ...p.norm("norm", `${at}linear_qkv.layer_norm_`, `${layer}input_layernorm.`),
    qkv: p.linear(`${at}linear_qkv`),
    ...p.norm("queryNorm", `${at}q_layernorm.`),
    ...p.norm("keyNorm", `${at}k_layernorm.`),
    ...p.optional("sinks", `${at}core_attention.softmax_offset`),
    output: p.linear(`${at}linear_proj`),
    ...p.norm("outputNorm", `${at}linear_proj.post_layernorm.`, `${layer}post_self_attn_layernorm.`)
  }
}

const latentPlan = <P>(p: NamedParameters<P>, layer: string, block: LatentAttentionBlock, facts: AttentionFacts): LatentAttentionPlan<P> => {
  const at = `${layer}self_attention.`
  return {
    kind: "latent-attention",
    block,
    facts,
    ...p.norm("norm", `${layer}input_layernorm.`),
    query: block.queryRank === null
      ? p.linear(`${at}linear_q_proj`)
      : {
        down: p.linear(`${at}linear_q_down_proj`),
        ...p.norm("norm", `${at}linear_q_up_proj.layer_norm_`, `${at}q_layernorm.`),
        up: p.linear(`${at}linear_q_up_proj`)
      },
    down: p.linear(`${at}linear_kv_down_proj`),
    ...p.norm("latentNorm", `${at}linear_kv_up_proj.layer_norm_`, `${at}kv_layernorm.`),
    up: p.linear(`${at}linear_kv_up_proj`),
    output: p.linear(`${at}linear_proj`),
    ...p.norm("outputNorm", `${at}linear_proj.post_layernorm.`)
  }
}

const mlpPlan = <P>(p: NamedParameters<P>, layer: string, at: string, block: MlpBlock): MlpPlan<P> => ({
  kind: "mlp",
  block,
  ...p.norm("norm", `${at}linear_fc1.layer_norm_`, ...(block.shared ? [] : [`${layer}pre_mlp_layernorm.`])),
  up: p.linear(`${at}linear_fc1`),
  down: p.linear(`${at}linear_fc2`),
  ...p.optional("tokenGate", `${at}gate_weight`),
  ...p.norm("outputNorm", `${at}linear_fc2.post_layernorm.`, ...(block.shared ? [] : [`${layer}post_mlp_layernorm.`]))
})

const expertsPlan = <P>(p: NamedParameters<P>, layer: string, block: ExpertsBlock, shared: MlpBlock | undefined, facts: RouterFacts, perToken: number): ExpertsPlan<P> => {
  const at = `${layer}mlp.`
  return {
    kind: "experts",
    block,
    facts,
    perToken,
    ...p.norm("norm", `${layer}pre_mlp_layernorm.`),
    router: p.linear(`${at}router`),
    ...p.optional("correction", `${at}router.expert_bias`),
    experts: Array.from({ length: block.experts }, (_, e) => ({
      up: p.linear(`${at}experts.linear_fc1`, String(e)),
      down: p.linear(`${at}experts.linear_fc2`, String(e))
    })),
    ...(shared ? { shared: mlpPlan(p, layer, `${at}shared_experts.`, shared) } : {})
  }
}

/** The blocks of a decoder layer by their kinds. */
const blocksOf = (placed: ReadonlyArray<PlacedBlock>) => {
  const blocks = placed.map(({ block }) => block)
  return {
    attention: blocks.find((b) => b.kind === "attention" || b.kind === "latent-attention"),
    mlp: blocks.find((b) => b.kind === "mlp" && !b.shared) as MlpBlock | undefined,
    shared: blocks.find((b) => b.kind === "mlp" && b.shared) as MlpBlock | undefined,
    experts: blocks.find((b) => b.kind === "experts"),
    other: blocks.filter(({ kind }) => !["attention", "latent-attention", "mlp", "experts"].includes(kind)).map(({ kind }) => kind)
  }
}

/** A language model: its configuration and what it computes, and the blocks that it is built of. */
export interface Decoder {
  readonly module: LanguageFacts
  readonly blocks: ReadonlyArray<PlacedBlock>
  /** As it is named in errors. */
  readonly name: string
}

/** Numbers of config.json that fit no model of these sizes. */
const requireSound = (name: string, index: number, attention: AttentionBlock | LatentAttentionBlock, { rotary, scale, window }: AttentionFacts): void => {
  const turned = attention.kind === "attention" ? attention.headDim : attention.ropeDim
  if (rotary && !(rotary.width % 2 === 0 && rotary.width > 0 && rotary.width <= turned)) throw refuse(name, `layer ${index} would turn ${rotary.width} of ${turned} elements of a head`)
  if (!(Number.isFinite(scale) && (window === undefined || window >= 1))) throw refuse(name, `the scale or the window of layer ${index} is no number that attention could use`)
}

const requireSoundRouter = (name: string, { experts }: ExpertsBlock, perToken: number, { groups }: RouterFacts): void => {
  if (perToken > experts) throw refuse(name, `${perToken} of ${experts} experts cannot be chosen`)
  if (groups && (experts % groups.count !== 0 || perToken > (experts / groups.count) * groups.chosen)) {
    throw refuse(name, `${perToken} of ${experts} experts cannot be chosen in ${groups.chosen} of ${groups.count} groups`)
  }
}

const layerPlan = <P>(p: NamedParameters<P>, { name }: Decoder, facts: ForwardFacts, index: number, placed: ReadonlyArray<PlacedBlock>): LayerPlan<P> => {
  const layer = `decoder.layers.${index}.`
  const { attention, experts, mlp, other, shared } = blocksOf(placed)
  const own = facts.attention[index]
  if (other.length > 0) throw refuse(name, `layer ${index} has ${other.join(" and ")}`)
  if (attention === undefined || own === undefined) throw refuse(name, `layer ${index} has no attention`)
  if (attention.outputGate) throw refuse(name, `the attention of layer ${index} has an output gate`)
  if (attention.kind === "latent-attention" && attention.indexer) throw refuse(name, `the attention of layer ${index} selects its keys by an indexer`)
  requireSound(name, index, attention, own)
  const attended = attention.kind === "attention" ? attentionPlan(p, layer, attention, own) : latentPlan(p, layer, attention, own)
  if (experts) {
    const { router } = facts
    if (router === undefined || experts.perToken === undefined) throw refuse(name, `config.json does not say how layer ${index} chooses its experts`)
    if (experts.width !== experts.hidden) throw refuse(name, `the experts of layer ${index} work at a width of their own`)
    requireSoundRouter(name, experts, experts.perToken, router)
    return { attention: attended, mlp: expertsPlan(p, layer, experts, shared, router, experts.perToken) }
  }
  if (mlp === undefined) throw refuse(name, `layer ${index} has no MLP`)
  return { attention: attended, mlp: mlpPlan(p, layer, `${layer}mlp.`, mlp) }
}

/**
 * The plan of a decoder with these parameters, by their names below the language model, multi-token prediction not among them. Unsupported
 * `unsupported/forward` for a model that computes something else, or has a parameter that nothing here uses.
 */
export const decoderPlan = <P>(decoder: Decoder, parameters: ReadonlyMap<string, P>): DecoderPlan<P> => {
  const { blocks, module: { config, forward: facts, path }, name } = decoder
  if (facts === undefined) throw refuse(name, "what models of this family compute is not described")
  const p = new NamedParameters(parameters)
  const prefix = `${path === "" ? "" : `${path}.`}decoder.layers.`
  const byLayer = Map.groupBy(blocks.filter(({ mtp, path: at }) => !mtp && at.startsWith(prefix)), ({ layer }) => layer)
  const embedding = p.take("embedding.word_embeddings.weight")
  const layers = Array.from({ length: config.num_layers }, (_, i) => layerPlan(p, decoder, facts, i, byLayer.get(i) ?? []))
  const { norm } = p.norm("norm", "decoder.final_layernorm.")
  if (norm === undefined) throw refuse(name, "there is no norm behind the last layer")
  const head = p.find("output_layer.weight") ?? embedding
  if (p.left.length > 0) throw refuse(name, `it is not known what its ${some(p.left, 3)} ${p.left.length === 1 ? "does" : "do"}`)
  return { hidden: config.hidden_size, vocabulary: config.vocab_size, facts, activation: facts.activation, embedding, layers, norm, head }
}
