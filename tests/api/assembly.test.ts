/** Models put together from checkpoints of their parts: there and back byte for byte under several layouts, and what is refused. */
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { assemble } from "../../examples/assemble.ts"
import { families } from "../../routes/index.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { assembleHfModel, inspectCheckpoint } from "../../src/index.ts"
import { Disk } from "../../src/io/Disk.ts"
import { generatedStore, initialPath } from "../../src/store/generated.ts"
import { cliIn } from "../cli/run.ts"
import { tensorsOf } from "../families/tensorsOf.ts"
import { program } from "../program.ts"

const work = mkdtempSync(join(tmpdir(), "assembly-"))
afterAll(() => rmSync(work, { recursive: true }))
const cli = cliIn(work)

const TEXT = { dtype: "bfloat16", hidden_size: 64, intermediate_size: 96, num_attention_heads: 8, num_key_value_heads: 4, num_hidden_layers: 4, vocab_size: 128, tie_word_embeddings: false }
const VISION = { hidden_size: 32, intermediate_size: 64, num_attention_heads: 4, num_hidden_layers: 5, image_size: 28, patch_size: 14 }
const PARTS: Readonly<Record<string, Record<string, unknown>>> = {
  llama: { architectures: ["LlamaForCausalLM"], model_type: "llama", ...TEXT },
  qwen3: { architectures: ["Qwen3ForCausalLM"], model_type: "qwen3", head_dim: 16, ...TEXT },
  clip: { architectures: ["CLIPVisionModel"], model_type: "clip_vision_model", ...VISION },
  siglip: { architectures: ["SiglipVisionModel"], model_type: "siglip_vision_model", ...VISION },
  whisper: { architectures: ["WhisperModel"], model_type: "whisper", d_model: 32, encoder_layers: 4, encoder_attention_heads: 4, encoder_ffn_dim: 64, num_mel_bins: 8, max_source_positions: 20 },
  glue: { architectures: ["MultimodalProjector"], input_size: 32, hidden_size: 64, output_size: 64 }
}

const write = (name: string, config: Record<string, unknown>): Promise<void> =>
  Effect.runPromise(writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: true }, hf: { config, configText: JSON.stringify(config), tensors: [...tensorsOf(config)] } }, join(work, name)).pipe(Effect.asVoid, Effect.provide(Disk.layer)))

beforeAll(async () => {
  for (const [name, config] of Object.entries(PARTS)) await write(name, config)
})

const sameFiles = (a: string, b: string): void => {
  expect(readdirSync(join(work, b)).sort()).toEqual(readdirSync(join(work, a)).sort())
  for (const file of readdirSync(join(work, a))) expect(readFileSync(join(work, b, file)).equals(readFileSync(join(work, a, file))), `${b}/${file}`).toBe(true)
}

/** A command line's words. */
const words = (line: string): ReadonlyArray<string> => line.split(" ")
const run = async (line: string) => {
  const done = await cli(...words(line))
  expect(done.err, line).toBe("")
  expect(done.code, line).toBe(0)
  return done.out
}

const LLAVA = "--recipe llava --hf-model language=llama --hf-model images=clip --hf-model projector=glue"
const AUDIO = "--recipe audio --hf-model language=qwen3 --hf-model audios=whisper --hf-model projector=init:11"
const THREE = "--recipe llava-audio --hf-model language=qwen3 --hf-model images=clip --hf-model audios=whisper --hf-model images.projector=glue --hf-model audios.projector=init:5"

const CASES = [
  ["two components", LLAVA, ["images"], { language: "llama", images: "clip" }],
  ["audio", AUDIO, ["audios"], { language: "qwen3", audios: "whisper" }],
  ["three components", THREE, ["images", "audios"], { language: "qwen3", images: "clip", audios: "whisper" }]
] as const
const LAYOUTS = [["tp=1", "tp=1"], ["tp=4", "tp=2"], ["tp=2,pp=2", "tp=4"], ["tp=1,pp=4,dp=2", "tp=1,dp=2"]] as const

describe.each(CASES)("%s", (_, model, modalities, parts) => {
  it.each(LAYOUTS)("language %s, encoders %s: the parts come back byte for byte", async (language, encoder) => {
    const id = `${modalities.join("-")}-${language}-${encoder}`.replace(/\W/g, "-")
    const layout = [`-c language=${language}`, ...modalities.map((name) => `-c ${name}=${encoder}`)].join(" ")
    await run(`import --quiet ${model} --megatron-path ${id} ${layout}`)
    if (language === "tp=4") expect(await run(`verify ${model} --megatron-path ${id}`)).toMatch(/^(\d+)\/\1 equal/m)
    if (language === "tp=1") {
      await run(`roundtrip --quiet ${model} ${layout} --output-dir ${id}-trip`)
      for (const [part, directory] of Object.entries(parts)) sameFiles(directory, `${id}-trip/${words(model)[1]}/${part}`)
    }
    await run(`export --quiet ${model} --megatron-path ${id} --hf-path ${id}-out`)
    for (const [part, directory] of Object.entries(parts)) sameFiles(directory, `${id}-out/${part}`)
  })
})

it("one model of transformers comes out, and is imported to the same checkpoint", async () => {
  await run(`import --quiet ${LLAVA} --megatron-path parts -c language=tp=2 -c images=tp=1`)
  await run(`export --quiet ${LLAVA} --megatron-path parts --hf-path whole --whole --token images=127`)
  expect(JSON.parse(readFileSync(join(work, "whole/config.json"), "utf8"))).toMatchObject({ architectures: ["LlavaForConditionalGeneration"], image_token_index: 127, vision_feature_layer: -2 })
  await run("import --quiet --hf-model whole --megatron-path again -c language=tp=2 -c images=tp=1")
  expect(await run("verify parts again")).toMatch(/^(\d+)\/\1 equal/m)
})

describe("files of tensor-parallel ranks, as scripts of trainers load them", () => {
  const layout = "-c language=tp=2,pp=2 -c images=tp=2 -c audios=tp=1"

  it("hold each module by itself, and the parts come back byte for byte", async () => {
    await run(`import --quiet ${THREE} --megatron-path ranks --tp-rank-files ${layout}`)
    expect(readdirSync(join(work, "ranks"), { recursive: true }).filter((name) => String(name).endsWith(".pt")).map(String).sort()).toEqual([
      "language_model/tp_rank_00/model_weights.pt",
      "language_model/tp_rank_01/model_weights.pt",
      "modality_submodules.audios.encoders.whisper/tp_rank_00/model_weights.pt",
      "modality_submodules.audios.input_projections.0/tp_rank_00/model_weights.pt",
      "modality_submodules.images.encoders.clip/tp_rank_00/model_weights.pt",
      "modality_submodules.images.encoders.clip/tp_rank_01/model_weights.pt",
      "modality_submodules.images.input_projections.0/tp_rank_00/model_weights.pt",
      "modality_submodules.images.input_projections.0/tp_rank_01/model_weights.pt"
    ])
    expect(await run(`verify ${THREE} --megatron-path ranks`)).toMatch(/^(\d+)\/\1 equal/m)
    await run(`export --quiet ${THREE} --megatron-path ranks --hf-path ranks-out`)
    for (const [part, directory] of Object.entries(CASES[2][3])) sameFiles(directory, `ranks-out/${part}`)
    const { tensors } = await inspectCheckpoint(join(work, "ranks"))
    expect(tensors.find(({ name }) => name === "language_model.decoder.layers.mlp.linear_fc1.weight")?.shape).toEqual([4, 192, 64])
  })

  it("of one model lie in its folder, with as many rows of the vocabulary as are asked for", async () => {
    await run("import --quiet --hf-model llama --megatron-path alone --tp-rank-files --tp 2 --megatron-vocab-size 256")
    const { tensors } = await inspectCheckpoint(join(work, "alone"))
    expect(tensors.find(({ name }) => name === "output_layer.weight")?.shape).toEqual([256, 64])
    await run("export --quiet --hf-model llama --megatron-path alone --hf-path alone-out --vocab-size 128")
    sameFiles("llama", "alone-out")
    expect((await cli(...words("doctor alone"))).out).toContain("state dicts of single modules")
    await run("relabel --quiet alone alone-dist --to torch-dist")
    await run("import --quiet --hf-model llama --megatron-path alone-again --tp 1 --megatron-vocab-size 256")
    expect(await run("verify alone-dist alone-again")).toMatch(/^(\d+)\/\1 equal/m)
  })

  it("several processes write the same ones, and they replace each other", async () => {
    execFileSync(process.execPath, [program, ...words(`import --quiet ${THREE} --megatron-path ranks-3 --tp-rank-files ${layout} --processes 3`)], { cwd: work })
    await run(`import --quiet ${THREE} --megatron-path ranks --tp-rank-files ${layout} --overwrite --no-checksum`)
    await run(`import --quiet ${THREE} --megatron-path ranks --tp-rank-files ${layout} --overwrite`)
    for (const name of readdirSync(join(work, "ranks"), { recursive: true }).map(String).filter((file) => file.endsWith(".pt"))) {
      expect(readFileSync(join(work, "ranks-3", name)).equals(readFileSync(join(work, "ranks", name))), name).toBe(true)
    }
  }, 60_000)

  it("that are not those of one model are refused", async () => {
    cpSync(join(work, "ranks"), join(work, "torn"), { recursive: true })
    rmSync(join(work, "torn/language_model/tp_rank_00"), { recursive: true })
    expect((await cli(...words(`export ${THREE} --megatron-path torn --hf-path x`))).err).toContain("has no tp_rank_00")
    cpSync(join(work, "ranks/language_model/tp_rank_00"), join(work, "torn/language_model/mp_rank_00"), { recursive: true })
    expect((await cli(...words(`export ${THREE} --megatron-path torn --hf-path x`))).err).toContain("folders of ranks of two kinds")
    rmSync(join(work, "torn/language_model"), { recursive: true })
    mkdirSync(join(work, "torn/language_model"))
    expect((await cli(...words(`export ${THREE} --megatron-path torn --hf-path x`))).err).toContain("holds no tp_rank_00")
    rmSync(join(work, "torn/language_model"), { recursive: true })
    symlinkSync(join(work, "ranks/language_model"), join(work, "torn/language_model"))
    expect((await cli(...words(`export ${THREE} --megatron-path torn --hf-path x`))).err).toContain("is a link that leaves")
    expect((await cli(...words(`import ${LLAVA} --megatron-path x --tp-rank-files --load-route ddp`))).err).toContain("--load-route ddp would do nothing")
    expect((await cli(...words("import --hf-model llama --megatron-path x --megatron-vocab-size 100"))).err).toContain("the model has 128 rows")
  })
})

it("a file says the same as flags, and the library as both", async () => {
  writeFileSync(join(work, "model.yaml"), "recipe: llava\nmodels:\n  language: ./llama\n  images:\n    model: ./clip\n  projector: init:3\ntokens:\n  images: 100\n")
  const { components, notes } = JSON.parse(await run("plan --json --hf-model model.yaml")) as { readonly components: unknown; readonly notes: ReadonlyArray<string> }
  const flags = JSON.parse(await run("plan --json --recipe llava --hf-model language=llama --hf-model images=clip --hf-model projector=init:3")) as { readonly components: unknown }
  expect(flags).toMatchObject({ components })
  expect(notes).toContain("images.projector: new, normal values of standard deviation 0.02 (second layer 0.02/√2), biases 0, from seed 3")
  const path = await assembleHfModel({ recipe: "llava", parts: { language: join(work, "llama"), images: join(work, "clip"), projector: "init:3" } })
  expect(path).toContain("images.projector=init:/3/BF16/32-64-64")
})

it("the example: three layouts of three components", async () => {
  const lines: Array<string> = []
  const log = vi.spyOn(console, "log").mockImplementation((line: string) => { lines.push(line) })
  mkdirSync(join(work, "example"))
  await assemble({ language: join(work, "qwen3"), images: join(work, "clip"), audios: join(work, "whisper"), projector: join(work, "glue") }, join(work, "example"))
  log.mockRestore()
  expect(lines.map((line) => line.replace(/(\d+)\/\1 equal.*/, "equal"))).toEqual([
    "language=tp=1 images=tp=1 audios=tp=1: 3 ranks, equal",
    "language=tp=4 images=tp=2 audios=tp=1: 7 ranks, equal",
    "language=tp=2,pp=2 images=tp=1,dp=2 audios=tp=2: 8 ranks, equal"
  ])
  for (const [part, directory] of Object.entries(CASES[2][3])) sameFiles(directory, `example/parts-2/${part}`)
})

it("the example of routes: the user's own names of modules", async () => {
  await write("routed", { architectures: ["LlavaForConditionalGeneration"], text_config: { model_type: "llama", ...TEXT }, vision_config: VISION })
  const routes = new URL("../../examples/mimo-routes.ts", import.meta.url).pathname
  expect((await cli(...words(`import --quiet --hf-model routed --megatron-path by-routes --family ${routes}`))).code).toBe(0)
  const { tensors } = await inspectCheckpoint(join(work, "by-routes"))
  expect(tensors.map(({ name }) => name)).toContain("modality_submodules.images.encoders.glue.encoder.linear_fc1.weight")
  expect(tensors.map(({ name }) => name)).toContain("modality_submodules.images.encoders.vit.class_token")
})

it("layers of an encoder that the model has no use for travel beside it, and are said", async () => {
  const report = JSON.parse(await run(`plan --json ${LLAVA}`)) as { readonly carriedBecause: ReadonlyArray<{ readonly why: string; readonly tensors: ReadonlyArray<string> }> }
  expect(report.carriedBecause.map(({ tensors, why }) => [why, tensors.length])).toEqual([["behind layer 4 of the tower, whose output the model takes", 16]])
})

it.each(CASES)("several processes write the same files: %s", async (_, model, modalities, parts) => {
  const start = (line: string) => execFileSync(process.execPath, [program, ...words(line)], { cwd: work, encoding: "utf8" })
  const layout = `-c language=tp=2,pp=2 ${modalities.map((name) => `-c ${name}=tp=2`).join(" ")}`
  const [one, three, out] = ["one", "three", "three-out"].map((name) => `${name}-${modalities.join("-")}`)
  await run(`import --quiet ${model} --megatron-path ${one} ${layout}`)
  start(`import --quiet ${model} --megatron-path ${three} ${layout} --processes 3`)
  for (const file of readdirSync(join(work, one!, "iter_0000000")).filter((name) => name.endsWith(".distcp"))) {
    expect(readFileSync(join(work, three!, "iter_0000000", file)).equals(readFileSync(join(work, one!, "iter_0000000", file))), file).toBe(true)
  }
  start(`export --quiet ${model} --megatron-path ${three} --hf-path ${out} --processes 3`)
  for (const [part, directory] of Object.entries(parts)) sameFiles(directory, `${out}/${part}`)
}, 60_000)

describe("sections of a whole model", () => {
  const WHOLE = "--recipe llava --hf-model language=parts-whole --hf-model images=parts-whole --hf-model projector=parts-whole"
  const alone = JSON.parse(JSON.stringify(PARTS)) as typeof PARTS

  beforeAll(async () => {
    const { architectures: _, ...text } = alone["llama"]!
    await write("parts-whole", { architectures: ["LlavaForConditionalGeneration"], model_type: "llava", dtype: "bfloat16", text_config: text, vision_config: { ...VISION, model_type: "clip_vision_model" } })
  })

  it("are parts like checkpoints of their own: the same weights as of the whole, and come out as models alone", async () => {
    await run(`import --quiet ${WHOLE} --megatron-path sections -c language=tp=2 -c images=tp=1`)
    await run("import --quiet --hf-model parts-whole --megatron-path sections-whole -c language=tp=2 -c images=tp=1")
    const [sections, whole] = await Promise.all(["sections", "sections-whole"].map(async (name) => (await inspectCheckpoint(join(work, name))).tensors.filter(({ name: key }) => !key.startsWith("hf_source."))))
    expect(sections!.map(({ name }) => name)).toEqual(whole!.map(({ name }) => name))
    expect(await run("verify sections sections-whole")).toMatch(/^(\d+)\/\1 equal/m)
    await run(`export --quiet ${WHOLE} --megatron-path sections --hf-path sections-out`)
    expect(JSON.parse(readFileSync(join(work, "sections-out/images/config.json"), "utf8"))).toMatchObject({ architectures: ["CLIPVisionModel"], hidden_size: 32 })
    expect(readdirSync(join(work, "sections-out/language")).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
    await run("import --quiet --recipe llava --hf-model language=sections-out/language --hf-model images=sections-out/images --hf-model projector=sections-out/images-projector --megatron-path sections-again -c language=tp=2 -c images=tp=1")
    expect(await run("verify sections sections-again")).toMatch(/^(\d+)\/\1 equal/m)
    const { notes } = JSON.parse(await run(`plan --json ${WHOLE}`)) as { readonly notes: ReadonlyArray<string> }
    expect(notes.join("\n")).toContain("images: vision_config of")
  })

  it("that are no model by themselves are refused", async () => {
    await write("no-llama", { architectures: ["LlavaForConditionalGeneration"], text_config: { model_type: "llama", ...TEXT }, vision_config: VISION })
    const path = join(work, "no-llama/config.json")
    writeFileSync(path, readFileSync(path, "utf8").replace('"model_type":"llama"', '"model_type":"lama"'))
    const { err } = await cli(...words(`plan ${LLAVA.replace("=llama", "=no-llama")}`))
    expect(err).toContain("is of type lama, which is no model by itself here")
  })
})

describe("what is refused", () => {
  it.each([
    ["a field that nobody knows", "recipe: llava\nmodels:\n  language: ./llama\n  images: ./clip\n  projector: init:3\nrun: rm\n", "run"],
    ["a tag", "recipe: llava\nmodels: !!python/object/apply:os.system [ls]\n", "a list is not an object"],
    ["references that multiply", `a: &a [x, x, x, x, x, x, x, x, x]\n${Array.from({ length: 9 }, (_, i) => `${"bcdefghij"[i]}: &${"bcdefghij"[i]} [${Array.from({ length: 9 }, () => `*${"abcdefghi"[i]}`).join(", ")}]`).join("\n")}\n`, "recipe.yaml"],
    ["a part twice", "recipe: llava\nmodels:\n  language: ./llama\n  language: ./qwen3\n  images: ./clip\n  projector: init:3\n", "language"],
    ["a list for a name", "recipe: llava\nmodels: [a, b]\n", "models"],
    ["no recipe", "models:\n  language: ./llama\n", "recipe"],
    ["control characters", 'recipe: "\\e[31mllava"\nmodels:\n  language: ./llama\n', "there is no such recipe"]
  ])("a recipe's file: %s", async (_, text, problem) => {
    writeFileSync(join(work, "recipe.yaml"), text)
    const { code, err } = await cli(...words("plan --hf-model recipe.yaml"))
    expect(code).not.toBe(0)
    expect(err).toContain(problem)
    expect(err).not.toContain(String.fromCharCode(27))
  })

  it("a recipe's file without end", async () => {
    writeFileSync(join(work, "endless.yaml"), `recipe: llava\nmodels:\n${"  x: y\n".repeat(200_000)}`)
    expect((await cli(...words("plan --hf-model endless.yaml"))).err).toContain("endless.yaml")
  })

  it("the same part twice", async () => {
    expect((await cli(...words(`plan ${LLAVA} --hf-model images=siglip`))).err).toContain("once for each name")
    expect((await cli(...words(`plan ${LLAVA} --hf-model images.projector=glue`))).err).toContain("named twice")
  })

  it("says where parts differ in dtype, and casts when asked", async () => {
    const float = PARTS["clip"]!
    await write("float", { ...float, dtype: "float32" })
    const path = join(work, "float")
    const { notes } = JSON.parse(await run(`plan --json ${LLAVA.replace("=clip", "=float")}`)) as { readonly notes: ReadonlyArray<string> }
    const mixed = (await inspectCheckpoint(path)).tensors.every(({ dtype }) => dtype === "F32")
    expect(notes.some((note) => note.includes("several dtypes"))).toBe(mixed)
  })

  it.each([
    ["import --recipe lava --hf-model language=llama --megatron-path x", "there is no such recipe", "Known: llava, images, audio, llava-audio"],
    ["import --recipe llava --hf-model language=llama --hf-model images=clip --megatron-path x", "images.projector is missing", "a projector may be init:SEED"],
    ["import --recipe llava --hf-model language=llama --hf-model images=clip --hf-model sound=clip --hf-model projector=glue --megatron-path x", "there is no part", "language, images, images.projector"],
    ["import --recipe llava --hf-model language=clip --hf-model images=clip --hf-model projector=glue --megatron-path x", "is no language model", "a text model"],
    ["import --recipe llava --hf-model language=llama --hf-model images=llama --hf-model projector=glue --megatron-path x", "is no encoder alone", "an encoder"],
    ["import --recipe llava --hf-model language=llama --hf-model images=clip --hf-model projector=init:x --megatron-path x", "is no seed", "init:1234"],
    ["import --recipe llava --hf-model language=llama --hf-model images=clip --hf-model projector=llama --megatron-path x", "holds no projector", "init:SEED"],
    ["import --hf-model llama --hf-model clip --megatron-path x", "given several times", "--recipe"],
    [`export ${LLAVA} --megatron-path parts --hf-path x --whole`, "is not among the 128", "--token images=ID"],
    [`export ${AUDIO} --megatron-path parts --hf-path x --whole`, "no class for the recipe", "writes the parts"]
  ])("%s", async (line, problem, hint) => {
    const { code, err } = await cli(...words(line))
    expect(code).not.toBe(0)
    expect(err).toContain(problem)
    expect(err).toContain(hint)
  })

  it("a projector of other widths", async () => {
    await write("narrow", { ...PARTS["glue"]!, input_size: 16 })
    const { err } = await cli(...words(`plan ${LLAVA.replace("=glue", "=narrow")}`))
    expect(err).toContain("leads from 16 to 64 features, but images gives 32 and the language model takes 64")
    await write("bulging", { ...PARTS["glue"]!, hidden_size: 48 })
    expect((await cli(...words(`export ${LLAVA.replace("=glue", "=bulging")} --megatron-path parts --hf-path x --whole --token images=1`))).err).toContain("has 48 features inside")
  })
})

it("first weights are a function of the seed, in whatever ranges they are read", async () => {
  const path = `${initialPath({ seed: 7, dtype: "BF16", input: 32, hidden: 64, output: 48 })}/model.safetensors`
  const file = await generatedStore.open(path, "read")
  const { size } = await file.info()
  const whole = new Uint8Array(size)
  expect(await file.read(whole, 0)).toBe(size)
  const pieces = new Uint8Array(size)
  for (let at = 0; at < size; at += 37) await file.read(pieces.subarray(at, at + 37), at)
  expect(pieces).toEqual(whole)
  const values = new Uint16Array(whole.slice(whole.byteLength - 48 * 64 * 2).buffer)
  const floats = Float32Array.from(values, (bits) => new Float32Array(new Uint32Array([bits << 16]).buffer)[0]!)
  const mean = floats.reduce((a, b) => a + b, 0) / floats.length
  const deviation = Math.sqrt(floats.reduce((sum, x) => sum + (x - mean) ** 2, 0) / floats.length)
  expect(Math.abs(mean)).toBeLessThan(0.001)
  expect(deviation).toBeCloseTo(0.02 / Math.SQRT2, 3)
})

it("families are known to the registry only where a config asks for one", () => {
  expect(families.architectures).not.toContain("AssembledModel")
})
