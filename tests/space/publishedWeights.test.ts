/**
 * A publisher's own form (consolidated.safetensors, params.json) beside that of transformers: written here from the latter by the
 * formula that reads one element at a time, read as the same model.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, mkdirSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { diffCheckpoints, Disk, examineCheckpoint, exportCheckpoint, importCheckpoint, inspectCheckpoint, roundtripCheckpoint, verifyCheckpoint } from "../../src/index.ts"
import { openSafetensors, readTensor, writeSafetensors } from "../../src/safetensors/node.ts"
import { configText } from "../../src/conformance/configText.ts"
import { tensorsOf } from "../families/tensorsOf.ts"

const work = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "published-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))
const at = (...parts: ReadonlyArray<string>): string => join(work, ...parts)

const LAYER: Readonly<Record<string, string>> = {
  "self_attn.q_proj": "attention.wq", "self_attn.k_proj": "attention.wk", "self_attn.v_proj": "attention.wv", "self_attn.o_proj": "attention.wo",
  "attention.q_proj": "attention.wq", "attention.k_proj": "attention.wk", "attention.v_proj": "attention.wv", "attention.o_proj": "attention.wo",
  "mlp.gate_proj": "feed_forward.w1", "mlp.down_proj": "feed_forward.w2", "mlp.up_proj": "feed_forward.w3",
  "feed_forward.gate_proj": "feed_forward.w1", "feed_forward.down_proj": "feed_forward.w2", "feed_forward.up_proj": "feed_forward.w3",
  input_layernorm: "attention_norm", post_attention_layernorm: "ffn_norm", attention_norm: "attention_norm", ffn_norm: "ffn_norm"
}
const OTHERS: Readonly<Record<string, string>> = {
  embed_tokens: "tok_embeddings", norm: "norm", lm_head: "output", "vision_tower.patch_conv": "vision_encoder.patch_conv", "vision_tower.ln_pre": "vision_encoder.ln_pre",
  "multi_modal_projector.linear_1": "vision_language_adapter.w_in", "multi_modal_projector.linear_2": "vision_language_adapter.w_out",
  "multi_modal_projector.norm": "pre_mm_projector_norm", "multi_modal_projector.patch_merger.merging_layer": "patch_merger.merging_layer"
}

/** The publisher's name of a tensor of transformers. */
const storedName = (name: string): string => {
  const [, tower, layer, module, kind] = /^(?:model\.)?(vision_tower\.transformer\.|language_model\.model\.|language_model\.)?layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name) ?? []
  const expert = /^block_sparse_moe\.(.+)$/.exec(module ?? "")?.[1]
  if (expert !== undefined) return `layers.${layer}.feed_forward.${expert}.${kind}`
  if (layer !== undefined) return `${tower?.startsWith("vision") ? "vision_encoder.transformer." : ""}layers.${layer}.${LAYER[module!]}.${kind}`
  const [, other, end] = /^(?:model\.)?(?:language_model\.)?(?:model\.)?(.+)\.(weight|bias)$/.exec(name)!
  return `${OTHERS[other!]}.${end}`
}

/** Row `j·d/2 + i` of a head there is row `2·i + j` here. */
const paired = (bytes: Uint8Array, rows: number, heads: number): Uint8Array => {
  const [width, d] = [bytes.byteLength / rows, rows / heads]
  const out = new Uint8Array(bytes.byteLength)
  for (let h = 0; h < heads; h++) for (let j = 0; j < 2; j++) for (let i = 0; i < d / 2; i++) out.set(bytes.subarray((h * d + (j * d) / 2 + i) * width).subarray(0, width), (h * d + 2 * i + j) * width)
  return out
}

const text = { hidden_size: 64, intermediate_size: 144, num_hidden_layers: 3, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16, rms_norm_eps: 1e-5, vocab_size: 1000, rope_theta: 1e6, max_position_embeddings: 2048, tie_word_embeddings: false }
const params = { dim: 64, n_layers: 3, head_dim: 16, hidden_dim: 144, n_heads: 4, n_kv_heads: 2, norm_eps: 1e-5, vocab_size: 1000, rope_theta: 1e6, max_position_embeddings: 2048 }
const vision = { hidden_size: 32, num_channels: 3, image_size: 56, patch_size: 14, num_hidden_layers: 2, intermediate_size: 56, num_attention_heads: 4, rope_theta: 10000 }
const published = { ...vision, spatial_merge_size: 2, adapter_bias: false, mm_projector_id: "patch_merge", add_pre_mm_projector_layer_norm: true, max_image_size: 56, image_token_id: 10, image_break_token_id: 12, image_end_token_id: 13 }
const withTower = (own: object) => ({
  architectures: ["Mistral3ForConditionalGeneration"], model_type: "mistral3", image_token_index: 10, multimodal_projector_bias: false, spatial_merge_size: 2, vision_feature_layer: -1, projector_hidden_act: "gelu", tie_word_embeddings: false, torch_dtype: "bfloat16",
  text_config: { ...text, sliding_window: null, hidden_act: "silu", ...own }, vision_config: { model_type: "pixtral", ...vision, head_dim: 8, hidden_act: "silu" }
})

/** The same models in both forms. */
const MODELS: Readonly<Record<string, { readonly config: Record<string, unknown>; readonly params: Record<string, unknown>; readonly outer?: string }>> = {
  text: { config: { architectures: ["MistralForCausalLM"], model_type: "mistral", ...text, sliding_window: 512, hidden_act: "silu", torch_dtype: "bfloat16" }, params: { ...params, sliding_window: "512" } },
  images: { config: withTower({ model_type: "mistral" }), params: { ...params, vision_encoder: published } },
  stretched: {
    config: withTower({ model_type: "ministral3", rope_parameters: { rope_type: "yarn", rope_theta: 1e6, factor: 16, original_max_position_embeddings: 1024, beta_fast: 32, beta_slow: 1, mscale: 1, mscale_all_dim: 1, llama_4_scaling_beta: 0.1 } }),
    params: { ...params, vision_encoder: published, yarn: { original_max_position_embeddings: 1024, factor: 16, beta: 32, alpha: 1, apply_scale: false }, llama_4_scaling: { original_max_position_embeddings: 1024, beta: 0.1 } },
    outer: "model."
  },
  experts: {
    config: { architectures: ["MixtralForCausalLM"], model_type: "mixtral", ...text, num_local_experts: 4, num_experts_per_tok: 2, sliding_window: null, hidden_act: "silu", torch_dtype: "bfloat16" },
    params: { ...params, moe: { num_experts: 4, num_experts_per_tok: 2 } }
  },
  pixtral: {
    config: {
      architectures: ["LlavaForConditionalGeneration"], model_type: "llava", image_token_index: 10, multimodal_projector_bias: true, projector_hidden_act: "gelu", vision_feature_layer: -1, vision_feature_select_strategy: "full", tie_word_embeddings: false,
      torch_dtype: "bfloat16", text_config: { model_type: "mistral", ...text, sliding_window: null, hidden_act: "silu" }, vision_config: { model_type: "pixtral", ...vision, head_dim: 8, hidden_act: "silu" }
    },
    params: { ...params, vision_encoder: { ...vision, adapter_bias: true, image_token_id: 10 } }
  }
}

const headsOf = (name: string): number | undefined =>
  /vision.*\.[qk]_proj/.test(name) ? vision.num_attention_heads : /\.q_proj/.test(name) ? params.n_heads : /\.k_proj/.test(name) ? params.n_kv_heads : undefined

/** In its newer spelling, where that is the published one. */
const spelled = (name: string, outer: string | undefined): string =>
  outer === undefined ? name : name === "language_model.lm_head.weight" ? "lm_head.weight" : outer + name.replace("language_model.model.", "language_model.")

const write = async (name: string): Promise<void> => {
  const { config, outer, params: own } = MODELS[name]!
  const tensors = tensorsOf(config).map((tensor) => ({ ...tensor, name: spelled(tensor.name, outer) }))
  await Effect.runPromise(writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: true }, hf: { config, configText: configText(JSON.stringify({ hf: { config } })), tensors } }, at(`${name}-hf`)).pipe(Effect.provide(Disk.layer)))
  const hf = await openSafetensors(at(`${name}-hf`))
  const stored = await Promise.all([...hf.tensors.values()].map(async ({ dtype, name: published, shape }) => {
    const bytes = await readTensor(hf, published)
    const heads = headsOf(published)
    return { name: storedName(published), dtype, shape, data: heads === undefined ? bytes : paired(bytes, shape[0]!, heads) }
  }))
  mkdirSync(at(name))
  await writeSafetensors(at(name, "consolidated.safetensors"), stored)
  writeFileSync(at(name, "params.json"), JSON.stringify(own))
  writeFileSync(at(name, "tekken.json"), "{}")
}

beforeAll(async () => { for (const name of Object.keys(MODELS)) await write(name) })

const dataOf = (checkpoint: string) => readdirSync(at(checkpoint, "iter_0000000")).filter((name) => name.endsWith(".distcp")).sort().map((name) => [name, readFileSync(at(checkpoint, "iter_0000000", name)).toString("base64")])

const standard = (name: string, tp = 1) => ({ hfModel: at(name), standard: true as const, tp })

describe.each(Object.keys(MODELS))("a model in its publisher's form: %s", (name) => {
  it("is imported, verified and exported as the same model of transformers", async () => {
    const [ours, theirs, out, again] = [`${name}-megatron`, `${name}-hf-megatron`, `${name}-out`, `${name}-hf-out`]
    const report = await importCheckpoint(standard(name, 2), at(ours))
    await importCheckpoint(standard(`${name}-hf`, 2), at(theirs))
    expect(dataOf(ours)).toEqual(dataOf(theirs))
    const config = (checkpoint: string) => readFileSync(at(checkpoint, "iter_0000000", "run_config.yaml"), "utf8")
    expect(config(ours)).toBe(config(theirs))
    expect(report.notes.join()).toContain("read as")
    for (const model of [name, `${name}-hf`]) {
      const { equal, total } = await verifyCheckpoint(standard(model), at(ours))
      expect(equal).toBe(total)
    }
    await exportCheckpoint(standard(name), at(ours), at(out))
    await exportCheckpoint(standard(`${name}-hf`), at(theirs), at(again))
    const { equal, tensors, total } = await diffCheckpoints(at(out), at(again))
    expect([tensors, equal]).toEqual([[], total])
    expect(JSON.parse(readFileSync(at(out, "config.json"), "utf8"))).toMatchObject(MODELS[name]!.config)
    expect(readdirSync(at(out)).sort()).toEqual(["config.json", "model.safetensors", "tekken.json"])
  })

  it("is looked at under the names of transformers, and differs in nothing", async () => {
    const { equal, tensors, total } = await diffCheckpoints(at(name), at(`${name}-hf`))
    expect([tensors, equal]).toEqual([[], total])
    const [own, other] = await Promise.all([inspectCheckpoint(at(name)), inspectCheckpoint(at(`${name}-hf`))])
    expect(own.model).toEqual(other.model)
    const sums = ({ components }: typeof own) => new Map(components.map((component) => [component.name, component.bytes]))
    expect(sums(own)).toEqual(sums(other))
    const { sound } = await examineCheckpoint(at(name))
    expect(sound).toBe(true)
    const around = await roundtripCheckpoint(at(name), { standard: true })
    expect(around.equal).toBe(around.total)
  })
})

describe("what is not public is refused by name", () => {
  const changed = (change: Record<string, unknown>): string => {
    const directory = mkdtempSync(at("changed-"))
    writeFileSync(join(directory, "consolidated.safetensors"), readFileSync(at("text", "consolidated.safetensors")))
    writeFileSync(join(directory, "params.json"), JSON.stringify({ ...params, ...change }))
    return directory
  }
  const refused = async (change: Record<string, unknown>): Promise<unknown> => importCheckpoint({ hfModel: changed(change), standard: true }, at("never")).catch((error: unknown) => error)

  it("codes, latent attention, another modality", async () => {
    for (const field of ["multimodal", "quantization", "qk_nope_head_dim"]) expect(await refused({ [field]: { num_experts: 8 } })).toMatchObject({ code: "unsupported/publisher-form", message: expect.stringContaining(field) })
  })

  it("a parameter or a value that no script has", async () => {
    expect(await refused({ attention_sinks: 4 })).toMatchObject({ code: "document/shape", message: expect.stringContaining("attention_sinks") })
    expect(await refused({ sliding_window: [null, 512] })).toMatchObject({ code: "document/shape", message: expect.stringContaining("sliding_window") })
    expect(await refused({ n_layers: "3" })).toMatchObject({ code: "document/shape", message: expect.stringContaining("n_layers") })
  })

  it("heads that the rows are not of, tensors that no script knows", async () => {
    expect(await refused({ n_heads: 7 })).toMatchObject({ code: "publisher/heads", message: expect.stringContaining("layers.0.attention.wq.weight") })
    const directory = changed({})
    const source = await openSafetensors(at("text", "consolidated.safetensors"))
    const tensors = await Promise.all([...source.tensors.values()].map(async ({ dtype, name, shape }) => ({ name: name.replace("layers.1.ffn_norm", "layers.1.router"), dtype, shape, data: await readTensor(source, name) })))
    await writeSafetensors(join(directory, "consolidated.safetensors"), tensors)
    expect(await importCheckpoint({ hfModel: directory, standard: true }, at("never")).catch((error: unknown) => error)).toMatchObject({ code: "unsupported/publisher-form", message: expect.stringContaining("layers.1.router.weight") })
  })

  it("says what it took for granted", async () => {
    const { max_position_embeddings: _, ...rest } = params
    const directory = changed({})
    writeFileSync(join(directory, "params.json"), JSON.stringify(rest))
    const { notes } = await importCheckpoint({ hfModel: directory, standard: true }, at("assumed"))
    expect(notes.join("\n")).toContain("32768, as transformers' script writes")
  })
})

it("every form that is known names each tensor of its models once", () => {
  const forms = families.families.flatMap((family) => family.publisher ?? [])
  expect(forms.length).toBe(5)
})
