/**
 * Edits of `run_config.yaml` that go with a new naming. Only the fields that must change are touched; every other
 * value keeps its spelling.
 */
import { type Document, isMap, Pair, Scalar, visit, YAMLMap } from "yaml"
import { FormatError, quote } from "../errors.ts"
import type { LayoutComponent } from "../parallel/Layout.ts"
import { GPT_PROVIDER, HYBRID_PROVIDER, MIMO_PROVIDER } from "./classes.ts"
import { FloatText, floatTextTag } from "./FloatText.ts"
import { mimoFields } from "./freshRunConfig.ts"
import { componentPipelineFields, LANGUAGE, mimoParallelism, modelParallelism, PIPELINE_FIELDS, REQUIRED_SIZES } from "./parallelism.ts"
import type { PythonValue } from "./Provider.ts"
import { runConfigDocument } from "./RunConfigFile.ts"
import { toNode } from "./toYaml.ts"

/** The configuration being edited. */
export class RunConfigEdit {
  readonly #document: Document.Parsed
  readonly notes: Array<string> = []

  constructor(bytes: Uint8Array) {
    this.#document = runConfigDocument(bytes)
    visit(this.#document, {
      Scalar: (_, node) => {
        if (node.source !== undefined && (typeof node.value === "number" || typeof node.value === "bigint")) node.value = new FloatText(node.source)
      }
    })
    this.#document.setSchema("1.1", { customTags: (tags) => [floatTextTag, ...tags] })
  }

  toString(): string {
    try {
      return this.#document.toString({ lineWidth: 0, indentSeq: false, directives: false, nullStr: "null", flowCollectionPadding: false })
    } catch {
      // The only thing that cannot be printed: what an alias stood for is gone.
      throw new FormatError("run-config/aliases", "an alias stands for something in a part that is replaced; write it out")
    }
  }

  /** Wrap the standard provider; every component gets the given layout. */
  toMimo(layout: ReadonlyArray<LayoutComponent>): void {
    const provider = this.#model()
    const previous = this.#get(provider, "mtp_num_layers")
    if (previous !== null && previous !== undefined && Number((provider.get("mtp_num_layers", true) as Scalar).source) !== 0) this.#set(provider, "mtp_num_layers", null)
    for (const [field, value] of Object.entries(componentPipelineFields(layout))) this.#set(provider, field, value)
    const wrapper = {
      ...mimoFields(this.#flag(provider, "bf16"), this.#flag(provider, "fp16")),
      _target_: MIMO_PROVIDER,
      megatron_mimo_parallelism_config: mimoParallelism(layout)
    }
    const model = toNode({ ...wrapper, standard_provider: null }) as YAMLMap
    model.set("standard_provider", provider)
    this.#document.set("model", model)
  }

  /** Take the standard provider out. `stored`: how many multi-token-prediction modules the checkpoint holds. */
  toStandard(stored: number): void {
    const provider = this.#model().get("standard_provider")
    if (!isMap(provider)) throw new FormatError("run-config/no-provider", "has no model.standard_provider, so it is not that of a MIMO model")
    if (stored > 0) this.#set(provider, "mtp_num_layers", this.#predictions(provider, stored))
    for (const field of REQUIRED_SIZES) if (!provider.has(field)) this.#set(provider, field, 1)
    this.#document.set("model", provider)
  }

  /**
   * How many predictions the modules make. One that is repeated is stored once, and the MIMO form does not say how often it is used;
   * the pattern of a hybrid model does, or the HF configuration inside.
   */
  #predictions(provider: YAMLMap, stored: number): number {
    if (provider.get("mtp_use_repeated_layer") !== true) return stored
    const pattern = provider.get("hybrid_layer_pattern")
    const parts = typeof pattern === "string" ? pattern.split("/").length - 1 : 0
    if (parts > 0) return parts
    for (const { value } of provider.items) {
      const inside = isMap(value) ? (value.get("num_nextn_predict_layers", true) as Scalar | undefined) : undefined
      const found = Number(inside?.source ?? inside?.value)
      if (Number.isSafeInteger(found) && found > 0) return found
    }
    this.notes.push(`run_config.yaml does not say how often its multi-token-prediction module is repeated; mtp_num_layers is ${stored}, set it`)
    return stored
  }

  /** Another layout of the model as it is. */
  toLayout(components: ReadonlyArray<LayoutComponent>): void {
    const model = this.#model()
    const inner = model.get("standard_provider")
    const provider = isMap(inner) ? inner : model
    if (isMap(inner)) model.set("megatron_mimo_parallelism_config", toNode(mimoParallelism(components)))
    const language = isMap(inner) ? components.find(({ name }) => name === LANGUAGE) : components[0]
    if (!language) return
    const fields = modelParallelism(language.parallelism)
    for (const field of PIPELINE_FIELDS) if (provider.has(field) && !(field in fields)) this.#set(provider, field, typeof provider.get(field) === "boolean" ? false : null)
    for (const [field, value] of Object.entries(fields)) this.#set(provider, field, value)
  }

  /** What the checkpoint holds besides the model. `rng` undefined: what is said of it stays. */
  toSaved(saved: { readonly optimizer: boolean; readonly rng: boolean | undefined }): void {
    const section = this.#document.get("checkpoint")
    if (!isMap(section)) return
    if (!saved.optimizer) this.#set(section, "save_optim", false)
    if (saved.rng !== undefined) this.#set(section, "save_rng", saved.rng)
  }

  toHybrid(pattern: string): void {
    const model = this.#model()
    this.#retarget(model, GPT_PROVIDER, HYBRID_PROVIDER)
    this.#set(model, "hybrid_layer_pattern", pattern)
    this.#set(model, "is_hybrid_model", true)
    this.#set(model, "num_layers", pattern.length)
  }

  /** A hybrid model of attention and MLP layers has two layers for one. */
  toGpt(): void {
    const model = this.#model()
    const node = model.get("num_layers", true) as Scalar | undefined
    const layers = Number(node?.source ?? node?.value)
    if (!Number.isSafeInteger(layers) || layers % 2 !== 0) throw new FormatError("run-config/layers", "has no even model.num_layers", { field: "model.num_layers" })
    this.#retarget(model, HYBRID_PROVIDER, GPT_PROVIDER)
    for (const field of ["hybrid_layer_pattern", "hybrid_override_pattern"]) if (model.has(field)) this.#set(model, field, null)
    this.#set(model, "is_hybrid_model", false)
    this.#set(model, "num_layers", layers / 2)
  }

  /** Defaults differ between the two classes, so a field that is left out changes its meaning. */
  #retarget(model: YAMLMap, from: string, to: string): void {
    const target = String(this.#get(model, "_target_"))
    if (target !== from) this.notes.push(`run_config.yaml: ${quote(target)} became ${to}; what the former set by default must now be stated`)
    const missing = [
      "position_embedding_type", "share_embeddings_and_output_weights", "normalization", "gated_linear_unit", "add_bias_linear", "layernorm_epsilon",
      "hidden_dropout", "attention_dropout", "seq_length", "rotary_base"
    ].filter((field) => !model.has(field))
    if (missing.length > 0) this.notes.push(`run_config.yaml leaves to the defaults of its class, which are not those of ${to}: ${missing.join(", ")}`)
    this.#set(model, "_target_", to)
  }

  #model(): YAMLMap {
    const model = this.#document.get("model")
    if (!isMap(model)) throw new FormatError("run-config/no-model", "has no section `model`")
    return model
  }

  #get(map: YAMLMap, field: string): unknown {
    return map.get(field)
  }

  #flag(map: YAMLMap, field: string): PythonValue | undefined {
    const value = map.get(field)
    return typeof value === "boolean" ? value : undefined
  }

  /** Keys are sorted, as PyYAML writes them. */
  #set(map: YAMLMap, field: string, value: unknown): void {
    if (map.has(field)) {
      map.set(field, value)
      return
    }
    const name = (pair: Pair) => String((pair.key as Scalar).value)
    const at = map.items.findIndex((pair) => name(pair as Pair) > field)
    map.items.splice(at < 0 ? map.items.length : at, 0, new Pair(new Scalar(field), new Scalar(value)))
  }
}
