/** What is no plain model is told by its names, with the next step: by import, by export, and by doctor. */
import { Cause, Effect, Exit } from "effect"
import { execFileSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { program } from "../program.ts"
import { families } from "../../routes/index.ts"
import { examinePath } from "../../src/doctor/doctor.ts"
import { isBridgeError } from "../../src/errors.ts"
import { type FileSet, writeFileSet } from "../hostile/corpus/FileSet.ts"
import { filesOf, type Hf, sharded, single, withTensors } from "../hostile/corpus/Hf.ts"
import { checkpointOf, filesOf as megatronFiles, type Megatron } from "../hostile/corpus/Megatron.ts"
import type { ToyTensor } from "../hostile/corpus/Toy.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { caseModel, imported, metadataOf, relabelled, run } from "../relabel/checkpoints.ts"
import { exportInto, importInto, quickDisk, workFolder } from "../hostile/run.ts"

const work = workFolder("recognise")
let number = 0
const written = (files: FileSet): string => {
  const path = join(work, String(number++))
  writeFileSet(path, files)
  return path
}

const failure = async (effect: Effect.Effect<unknown, unknown, never>): Promise<{ readonly message: string; readonly exitCode: number }> => {
  const exit = await Effect.runPromiseExit(effect)
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  if (!isBridgeError(error)) throw error ?? new Error("accepted")
  return error
}
const refused = (path: string) => failure(importInto(path, join(work, "target")).pipe(Effect.provide(quickDisk)))
const examined = (path: string) => Effect.runPromise(examinePath(families, path, []).pipe(Effect.provide(quickDisk)))

const model = single("qwen3")
const renamed = (rename: (name: string) => string): Hf => withTensors(model, (all) => all.map((t) => ({ ...t, name: rename(t.name) })))
/** Every matrix of a layer in place of its weight. */
const quantised = (...suffixes: ReadonlyArray<string>): Hf =>
  withTensors(model, (all) => all.flatMap((t): ReadonlyArray<ToyTensor> =>
    t.name.endsWith("_proj.weight") ? suffixes.map((s) => ({ ...t, name: t.name.replace(/weight$/, s), dtype: "I8", shape: [t.data.length] })) : [t]))
const beside = (name: string): Hf => withTensors(model, (all) => [...all, { ...all[0]!, name }])
const only = (...names: ReadonlyArray<string>): FileSet => new Map(names.map((name) => [name, Buffer.from("{}")]))
const withConfig = (...names: ReadonlyArray<string>): FileSet => new Map([...filesOf({ ...model, without: ["model.safetensors"] }), ...only(...names)])

describe("a Hugging Face directory that is no plain model", () => {
  it.each<readonly [what: string, files: FileSet, says: ReadonlyArray<string>]>([
    ["PEFT prefix", filesOf(renamed((n) => `base_model.model.${n}`)), ["PEFT", "base_model.model.", "merge_and_unload"]],
    ["PEFT, not merged", filesOf(renamed((n) => n.replace("q_proj.", "q_proj.base_layer."))), ["not merged", "merge_and_unload"]],
    ["LoRA beside", filesOf(beside("model.layers.0.self_attn.q_proj.lora_A.default.weight")), ["LoRA", "merge_and_unload"]],
    ["DDP prefix", filesOf(renamed((n) => `module.${n}`)), ["module.", "save_pretrained"]],
    ["torch.compile", filesOf(renamed((n) => `_orig_mod.${n}`)), ["_orig_mod."]],
    ["GPTQ", filesOf(quantised("qweight", "qzeros", "scales", "g_idx")), ["GPTQ"]],
    ["AWQ", filesOf({ ...quantised("qweight", "qzeros", "scales"), config: { ...model.config, quantization_config: { quant_method: "awq" } } }), ["quant_method awq"]],
    ["bitsandbytes 4 bit", filesOf(quantised("weight", "weight.absmax", "weight.quant_map")), ["bitsandbytes"]],
    ["bitsandbytes 8 bit", filesOf(beside("model.layers.0.self_attn.q_proj.SCB")), ["bitsandbytes"]],
    ["MLX", filesOf(quantised("weight", "scales", "biases")), ["MLX"]],
    ["GGUF names", filesOf(renamed((n) => n.replace("model.layers", "blk").replace("self_attn.q_proj", "attn_q"))), ["GGUF"]],
    ["consolidated names", filesOf(renamed((n) => n.replace(/^model\.(layers\.\d+\.)self_attn\.(q)_proj/, "$1attention.w$2"))), ["consolidated"]],
    ["Megatron names", filesOf(renamed((n) => n.replace(/^model\.layers\.(\d+)\.self_attn\.o_proj/, "decoder.layers.$1.self_attention.linear_proj"))), ["Megatron's names"]],
    ["a value head", filesOf(beside("v_head.summary.weight")), ["value or classification head", "--allow-unmapped"]],
    ["an adapter directory", only("adapter_config.json", "adapter_model.safetensors"), ["PEFT adapter", "adapter merge"]],
    ["only GGUF", withConfig("model-Q8_0.gguf"), ["GGUF"]],
    ["only pickles", withConfig("model.pt"), ["pickles", "safetensors"]],
    ["consolidated files", only("consolidated.00.pth", "params.json"), ["consolidated", "convert_MODEL_weights_to_hf.py"]],
    ["DeepSpeed", withConfig("zero_to_fp32.py"), ["DeepSpeed", "zero_to_fp32.py"]],
    ["DeepSpeed, a folder for each step", withConfig("latest", "global_step5/mp_rank_00_model_states.pt"), ["DeepSpeed (ZeRO)", "zero_to_fp32.py"]],
    ["a .nemo archive", only("model.nemo"), [".nemo archive", "nemo_to_hf"]],
    ["FSDP shards", withConfig("model_world_size_8_rank_0.pt"), ["FSDP", "model_merger"]],
    ["MLX archives", withConfig("weights.00.npz"), ["MLX"]]
  ])("%s", async (_, files, says) => {
    const path = written(files)
    const { exitCode, message } = await refused(path)
    for (const text of says) expect(message).toContain(text)
    expect(message).not.toContain("missing")
    expect(exitCode).toBe(4)
    // doctor says the same, as a finding or as the reason why there is nothing to examine.
    const found = await examined(path).then((r) => r.found.filter((d) => d.severity === "error").map((d) => `${d.text} ${d.fix}`).join("\n"), (error: Error) => error.message)
    for (const text of says) expect(found).toContain(text)
  })

  it.each<readonly [what: string, hf: Hf, says: ReadonlyArray<string>]>([
    ["another prefix", renamed((n) => n.replace(/^model\./, "model.language_model.")), ["prefix model.language_model. where the model's names have model."]],
    ["a base model", renamed((n) => n.replace(/^model\./, "")), ["prefix nothing where the model's names have model.", "AutoModel"]],
    ["other names", renamed((n) => n.replace(/\.mlp\.(\w+)_proj\.weight/, ".ffn.$1")), ["There is instead: model.layers.*.ffn.down"]],
    ["no head", withTensors(model, (all) => all.filter((t) => t.name !== "lm_head.weight")), ["lm_head.weight", "tie_word_embeddings"]],
    ["more rows", { ...model, config: { ...model.config, vocab_size: 18 } }, ["vocab_size in config.json says 18, 20 rows are stored"]],
    ["one tensor less", withTensors(model, (all) => all.filter((t) => t.name !== "model.layers.1.mlp.up_proj.weight")), ["model.layers.1.mlp.up_proj.weight"]]
  ])("%s: what is there is shown, and doctor is not content", async (_, hf, says) => {
    const path = written(filesOf(hf))
    const { message } = await refused(path)
    const { found, sound } = await examined(path)
    expect(sound).toBe(false)
    const diagnoses = found.filter((d) => d.severity === "error").map((d) => `${d.text} ${d.fix}`).join("\n")
    for (const text of says) {
      expect(message).toContain(text)
      expect(diagnoses).toContain(text)
    }
    expect(diagnoses).not.toMatch(/random|Download the file again/)
  })
})

describe("doctor's advice fits the finding", () => {
  it.each<readonly [what: string, files: FileSet, advice: RegExp]>([
    ["no architectures", filesOf({ ...model, config: { ...model.config, architectures: undefined } }), /name of the model's class into architectures/],
    ["two shards, no index", filesOf({ ...sharded("qwen3"), index: undefined }), /needs a model\.safetensors\.index\.json/],
    ["a path", filesOf({ ...sharded("qwen3"), indexFile: (text) => Buffer.from(text.replaceAll('"model-0', '"./model-0')) }), /plain paths/],
    ["an index of another numbering", filesOf({ ...sharded("qwen3"), indexFile: (text) => Buffer.from(text.replaceAll("of-00002", "of-00003")) }), /another numbering/],
    ["a cut file", filesOf({ ...model, shards: [{ ...model.shards[0]!, bytes: (file) => file.subarray(0, file.length - 7) }] }), /Download the file again/]
  ])("%s", async (_, files, advice) => {
    const { found } = await examined(written(files))
    const errors = found.filter((d) => d.severity === "error")
    expect(errors.map((d) => d.fix).join("\n")).toMatch(advice)
    expect(errors.map((d) => `${d.text} ${d.fix}`).join("\n")).not.toMatch(/random values|is missing or unreadable/)
  })
})

describe("a Megatron checkpoint that is no plain model", () => {
  let base: Megatron
  let hf: string
  beforeAll(async () => {
    base = await checkpointOf("qwen3")
    hf = written(filesOf(model))
  })
  const exported = (path: string) => failure(exportInto(hf, path, join(work, "target")).pipe(Effect.provide(quickDisk)))
  const keys = (change: (key: string) => string | undefined): FileSet =>
    megatronFiles({ ...base, entries: base.entries.flatMap((e) => { const key = change(e.key); return key === undefined ? [] : [{ ...e, key }] }) })
  const plus = (key: string): FileSet => megatronFiles({ ...base, entries: [...base.entries, { ...base.entries.find((e) => e.kind === "tensor")!, key }] })

  it.each<readonly [what: string, files: () => FileSet, says: ReadonlyArray<string>]>([
    ["adapters beside the base", () => plus("decoder.layers.0.self_attention.linear_qkv.adapter.linear_in.weight"), ["adapter tensors", "merge_lora"]],
    ["adapters only", () => keys((k) => (k.includes("linear_qkv.weight") ? k.replace("weight", "adapter.linear_in.weight") : k.includes("/shard_") ? k : undefined)), ["adapters only", "pretrained_checkpoint"]],
    ["to_wrap", () => keys((k) => k.replace("linear_proj.weight", "linear_proj.to_wrap.weight")), ["to_wrap"]],
    ["plain DCP of other names", () => new Map([...keys((k) => (k.includes("/shard_") ? undefined : `net.${k}`))].filter(([name]) => !name.endsWith("metadata.json"))), ["plain DCP", "format_utils dcp_to_torch"]],
    ["legacy grouped MLP", () => plus("decoder.layers.0.mlp.experts.weight1"), ["legacy grouped MLP", "[in, out]"]],
    ["a value head", () => plus("value_head.weight"), ["value or reward model"]]
  ])("%s", async (_, files, says) => {
    const path = written(files())
    const { exitCode, message } = await exported(path)
    for (const text of says) expect(message).toContain(text)
    expect(exitCode).toBe(4)
    const { found } = await examined(path)
    const errors = found.filter((d) => d.severity === "error").map((d) => `${d.text} ${d.fix}`).join("\n")
    for (const text of says) expect(errors).toContain(text)
  })

  it.each<readonly [what: string, files: FileSet, says: ReadonlyArray<string>]>([
    ["zarr", new Map([["metadata.json", Buffer.from('{"sharded_backend": "zarr", "sharded_backend_version": 1}')]]), ["zarr", "0.12", "--ckpt-convert-format torch_dist"]]
  ])("%s", async (_, files, says) => {
    const { message } = await exported(written(files))
    for (const text of says) expect(message).toContain(text)
  })

  it.each([["model.gguf", "GGUF"], ["model.nemo", ".nemo archive"]])("a file by itself: %s", async (name, says) => {
    const path = join(written(only(name)), name)
    expect((await exported(path)).message).toContain(says)
    expect((await refused(path)).message).toContain(says)
  })

  it("plain DCP without metadata.json is read, and not told to get one", async () => {
    const files = new Map([...keys((k) => (k.startsWith("common_state/") ? "args" : k.includes("/shard_") ? undefined : `model.module.${k}`))].filter(([name]) => !name.endsWith("metadata.json")))
    const path = written(files)
    await Effect.runPromise(exportInto(hf, path, join(path, "..", `exported-${basename(path)}`)).pipe(Effect.provide(quickDisk)))
    const { found, sound } = await examined(path)
    expect([sound, found.some((d) => d.text.includes("torch_dcp")), found.map((d) => d.command).filter((command) => command !== undefined)]).toEqual([true, true, []])
  })

  it.each<readonly [what: string, place: (path: string) => string, prefix: string]>([
    ["verl's model. prefix", (name) => name, "model."],
    ["NeMo 2: weights beside context", (name) => name.replace("iter_0000000/", "weights/"), "module."],
    ["verl's dist_ckpt folder", (name) => name.replace("iter_0000000/", "dist_ckpt/"), ""]
  ])("%s is read", async (what, place, prefix) => {
    const files = [...keys((k) => (/^(common_state|hf_source)/.test(k) ? k : prefix + k))].flatMap(([name, node]) => {
      const placed = place(name)
      return placed.includes("/") ? [[placed, node] as const] : placed === name && what.includes("prefix") ? [[name, node] as const] : []
    })
    const path = written(new Map([...files, ...(what.startsWith("NeMo") ? [["context/model.yaml", Buffer.from("x")] as const] : [])]))
    await Effect.runPromise(exportInto(hf, path, join(path, "..", `exported-${number}`)).pipe(Effect.provide(quickDisk)))
    expect((await examined(path)).found.map((d) => d.code)).not.toContain("not-a-checkpoint")
  })
})

describe("sequential experts", () => {
  it("the command in the error mends them", async () => {
    mkdirSync(work, { recursive: true })
    const moe = await caseModel(work, "qwen3-moe-a")
    const { path } = await relabelled(work, await imported(work, { hfModel: moe, standard: true }), ["sequential"])
    const metadata = metadataOf(path)
    const local = <A>(map: ReadonlyMap<string, A>) => new Map([...map].map(([k, v]) => [k.replace(".experts.experts.", ".experts.local_experts."), v]))
    writeFileSync(join(path, "iter_0000000", ".metadata"), encodeMetadata({ ...metadata, tensors: local(metadata.tensors), objects: local(metadata.objects) }))
    const target = join(work, "sequential-target")
    const { message } = await failure(exportInto(moe, path, target).pipe(Effect.provide(quickDisk)))
    const command = /^ *convert_megatron_mimo (.*--to grouped.*)$/m.exec(message)
    expect(command).not.toBeNull()
    execFileSync("bash", ["-c", `"${process.execPath}" "${program}" ${command![1]} --quiet`])
    await run(exportInto(moe, `${path}-mended`, target))
  })
})
