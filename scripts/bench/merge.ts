/**
 * `npm run bench:merge [-- --layers 4 --repeats N --rank 32 --dir DIR --bin FILE --other FILE --steps N]`: merges of an adapter on all linear layers, LoRA and DoRA, beside
 * the plain copy that `export` makes of the same model, in shuffled rounds of one run; medians, each as a ratio to the export.
 * `--layers 25` is 10 GB. The build puts it into dist/ as `bench/merge.js`: a Node binary and dist/ are all that it needs. `--other`: the same of another build; `--steps`: the first
 * N steps only. `--dir` keeps the samples there.
 */
import { execFileSync } from "node:child_process"
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { families } from "../../routes/index.ts"
import { sampleTensors } from "../../src/conformance/Sample.ts"
import { encodeHeader } from "../../src/safetensors/encodeHeader.ts"
import { encodeIndex } from "../../src/safetensors/ShardIndex.ts"
import { tensorBytes, type TensorSpec } from "../../src/safetensors/Tensor.ts"
import { bytesBelow, makeCold, type Measured, measureOwn, measureShell, median, shuffled } from "./measure.ts"

const own = new URL(".", import.meta.url).pathname
const { values } = parseArgs({
  options: {
    layers: { type: "string", default: "4" },
    repeats: { type: "string", default: "5" },
    rank: { type: "string", default: "32" },
    dir: { type: "string" },
    bin: { type: "string", default: existsSync(join(own, "../bin.js")) ? join(own, "../bin.js") : join(own, "../../dist/bin.js") },
    other: { type: "string" },
    steps: { type: "string" }
  }
})
const rank = Number(values.rank)
const work = values.dir ?? mkdtempSync(join(tmpdir(), "bench-merge-"))
const [hf, megatron, lora, dora, out] = ["hf", "megatron", "lora", "dora", "out"].map((name) => join(work, name)) as [string, string, string, string, string]

/** A dense model at the dimensions of 8 billion parameters, with as many layers as are asked for. */
const config = {
  architectures: ["Qwen3ForCausalLM"],
  model_type: "qwen3",
  hidden_size: 4096,
  intermediate_size: 12288,
  num_hidden_layers: Number(values.layers),
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 128,
  vocab_size: 32768,
  max_position_embeddings: 40960,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000,
  tie_word_embeddings: true,
  hidden_act: "silu",
  attention_bias: false,
  torch_dtype: "bfloat16"
}

/** Random numbers in BF16 of a moderate size, again and again from another place on: no disk compresses them, no arithmetic meets subnormals. */
const noise = Uint16Array.from({ length: 1 << 24 }, () => ((Math.random() * 2) << 15) | ((116 + Math.random() * 8) << 7) | (Math.random() * 128))

const writeFile = (path: string, tensors: ReadonlyArray<TensorSpec>): void => {
  const descriptor = openSync(path, "w")
  writeSync(descriptor, encodeHeader(tensors, new Map([["format", "pt"]])).headerBytes)
  for (const tensor of tensors) {
    for (let left = tensorBytes(tensor); left > 0;) {
      const from = Math.floor(Math.random() * (noise.length / 2))
      const part = noise.subarray(from, from + Math.min(left / 2, noise.length / 2))
      left -= writeSync(descriptor, part)
    }
  }
  closeSync(descriptor)
}

const writeModel = (): void => {
  const tensors = sampleTensors(families, { config, fp32: /(?!)/, shardBytes: 2e9 })
  mkdirSync(hf, { recursive: true })
  writeFileSync(join(hf, "config.json"), JSON.stringify(config))
  const files = Map.groupBy(tensors, ({ file }) => file)
  for (const [file, held] of files) writeFile(join(hf, file), held)
  if (files.size > 1) {
    const total = tensors.reduce((sum, t) => sum + tensorBytes(t), 0)
    writeFileSync(join(hf, "model.safetensors.index.json"), encodeIndex({ metadata: new Map([["total_size", total]]), weightMap: new Map(tensors.map((t) => [t.name, t.file])) }))
  }
  const linear = tensors.filter(({ name }) => name.includes("_proj."))
  for (const [directory, isDora] of [[lora, false], [dora, true]] as const) writeAdapter(directory, linear, isDora)
}

const writeAdapter = (directory: string, linear: ReadonlyArray<TensorSpec>, isDora: boolean): void => {
  const factors = linear.flatMap(({ name, shape: [rows, columns] }): ReadonlyArray<TensorSpec> => {
    const path = `base_model.model.${name.replace(/\.weight$/, "")}`
    return [
      { name: `${path}.lora_A.weight`, dtype: "BF16", shape: [rank, columns!] },
      { name: `${path}.lora_B.weight`, dtype: "BF16", shape: [rows!, rank] },
      ...(isDora ? [{ name: `${path}.lora_magnitude_vector`, dtype: "BF16" as const, shape: [rows!] }] : [])
    ]
  })
  mkdirSync(directory, { recursive: true })
  writeFile(join(directory, "adapter_model.safetensors"), factors)
  const targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
  writeFileSync(join(directory, "adapter_config.json"), JSON.stringify({ peft_type: "LORA", r: rank, lora_alpha: 2 * rank, lora_dropout: 0, bias: "none", use_dora: isDora, target_modules: targets }))
}

if (!existsSync(hf)) writeModel()
if (!existsSync(megatron)) execFileSync(process.execPath, [values.bin, "import", "--hf-model", hf, "--megatron-path", megatron, "--quiet"], { stdio: "inherit" })

const merge = (bin: string, adapter = lora, ...more: ReadonlyArray<string>) => () => measureOwn(bin, ["adapter", "merge", "--hf-model", hf, "--adapter", adapter, "--hf-path", out, "--quiet", ...more])
const allSteps: ReadonlyArray<{ readonly name: string; readonly reads: string; readonly run: () => Measured }> = [
  { name: "export", reads: megatron, run: () => measureOwn(values.bin, ["export", "--hf-model", hf, "--megatron-path", megatron, "--hf-path", out, "--quiet"]) },
  { name: "merge", reads: hf, run: merge(values.bin) },
  { name: "merge of DoRA", reads: hf, run: merge(values.bin, dora) },
  { name: "merge, `--threads 0`", reads: hf, run: merge(values.bin, lora, "--threads", "0") },
  { name: "`dd`, direct to direct", reads: hf, run: () => measureShell(`mkdir '${out}'; for f in '${hf}'/*.safetensors; do dd if="$f" of='${out}'/"$(basename "$f")" bs=8M iflag=direct oflag=direct status=none; done`) },
  ...(values.other === undefined ? [] : [{ name: `merge, ${values.other}`, reads: hf, run: merge(values.other) }])
]
const steps = allSteps.slice(0, values.steps === undefined ? allSteps.length : Number(values.steps))
const runs = new Map<string, Array<Measured>>(steps.map(({ name }) => [name, []]))
for (let round = 0; round < Number(values.repeats); round++) {
  for (const { name, reads, run } of shuffled(steps)) {
    makeCold(reads)
    const measured = run()
    runs.get(name)!.push(measured)
    process.stderr.write(`${name}: ${measured.wall.toFixed(2)} s\n`)
    rmSync(out, { recursive: true, force: true })
  }
  process.stderr.write(`round ${round + 1} of ${values.repeats}\n`)
}
const medianOf = (name: string, field: keyof Measured): number => median(runs.get(name)!.map((m) => m[field]))
const copy = medianOf("export", "wall")
const rows = steps.map(({ name }) => {
  const [wall, cpu, rss] = [medianOf(name, "wall"), medianOf(name, "cpu"), medianOf(name, "rss")]
  return `| ${name} | ${wall.toFixed(2)} | ${(wall / copy).toFixed(2)} | ${cpu.toFixed(2)} | ${rss === 0 ? "" : (rss / 1e6).toFixed(0)} |`
})
process.stdout.write(`${(bytesBelow(hf) / 1e9).toFixed(2)} GB in ${readdirSync(hf).length - 1} files, an adapter of rank ${rank}, ${values.repeats} rounds\n\n| | wall s | / export | CPU s | peak MB |\n| --- | ---: | ---: | ---: | ---: |\n${rows.join("\n")}\n`)
if (values.dir === undefined) rmSync(work, { recursive: true })
