/**
 * What a terminal obeys, wherever it stands in a file, is never printed raw: every text field of every document, one at a time,
 * through every verb, as text, CSV, JSON, page and card.
 */
import { existsSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { cleaned, escaped, safeJson } from "../../src/quote.ts"
import { type FileSet, writeFileSet } from "../hostile/corpus/FileSet.ts"
import { filesOf, type Hf, sharded, withShard, withTensor } from "../hostile/corpus/Hf.ts"
import { checkpointOf, filesOf as megatronFiles, type Megatron } from "../hostile/corpus/Megatron.ts"
import { workFolder } from "../hostile/run.ts"
import { runCli } from "./run.ts"

const EVIL = "\u001b[31mEVIL\u009b\u202e\u200b\u2028\u0007\r\nFORGED"
// eslint-disable-next-line no-control-regex
const RAW = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|^\W*FORGED/m

const work = workFolder("control-characters")
let number = 0
const written = (files: FileSet): string => {
  const path = join(work, `case-${number++}`)
  writeFileSet(path, files)
  return path
}

/** Everything that one command line prints. */
const printed = async (...args: ReadonlyArray<string>): Promise<string> => {
  const { err, out } = await runCli(args)
  return out + err
}

const page = join(work, "page.html")
const card = join(work, "card.yaml")
const seen = { evil: 0 }

const check = (what: string, text: string): void => {
  const found = RAW.exec(text)
  expect(found && JSON.stringify(text.slice(Math.max(0, found.index - 60), found.index + 20)), what).toBe(null)
  if (text.includes("EVIL")) seen.evil++
}

const isSafe = async (what: string, ...args: ReadonlyArray<string>): Promise<void> => {
  check(`${what}: ${args.join(" ")}`, await printed(...args))
  for (const file of [page, card]) {
    if (!existsSync(file)) continue
    check(`${what}: ${file}`, readFileSync(file, "utf8"))
    rmSync(file)
  }
}

let soundHf: string
let soundMegatron: string
let base: Megatron

const hfVerbs = async (what: string, path: string): Promise<void> => {
  const target = join(work, "target")
  await isSafe(what, "inspect", path)
  await isSafe(what, "inspect", path, "--csv", "--chunks")
  await isSafe(what, "inspect", path, "--json")
  await isSafe(what, "inspect", path, "--list")
  await isSafe(what, "doctor", path)
  await isSafe(what, "doctor", path, "--json")
  await isSafe(what, "import", "--hf-model", path, "--megatron-path", target, "--dry-run")
  await isSafe(what, "import", "--hf-model", path, "--megatron-path", target, "--dry-run", "--json")
  await isSafe(what, "plan", "--hf-model", path)
  await isSafe(what, "export", "--hf-model", path, "--megatron-path", soundMegatron, "--hf-path", target, "--dry-run")
  await isSafe(what, "verify", path, soundMegatron)
  await isSafe(what, "diff", soundHf, path)
  await isSafe(what, "scaffold", path)
  await isSafe(what, "report", path, soundMegatron, "-o", page, "--card", card)
}

const megatronVerbs = async (what: string, path: string): Promise<void> => {
  const target = join(work, "target")
  await isSafe(what, "inspect", path)
  await isSafe(what, "inspect", path, "--csv", "--chunks")
  await isSafe(what, "inspect", path, "--json")
  await isSafe(what, "doctor", path)
  await isSafe(what, "doctor", path, "--json")
  await isSafe(what, "export", "--hf-model", soundHf, "--megatron-path", path, "--hf-path", target, "--dry-run")
  await isSafe(what, "export", "--hf-model", soundHf, "--megatron-path", path, "--hf-path", target, "--dry-run", "--json")
  await isSafe(what, "verify", soundHf, path)
  await isSafe(what, "diff", soundMegatron, path)
  await isSafe(what, "relabel", path, target, "--to", "extra-states", "--dry-run")
  await isSafe(what, "report", path, "-o", page, "--card", card)
}

beforeAll(async () => {
  base = await checkpointOf("qwen3")
  soundHf = written(filesOf(sharded("qwen3")))
  soundMegatron = written(megatronFiles(base))
})

const model = sharded("qwen3")
const text = (at: string): Hf => ({ ...model, config: { ...model.config, [at]: EVIL } })
const lastTensor = "model.norm.weight"

describe("a Hugging Face directory", () => {
  it.each<readonly [what: string, hf: Hf]>([
    ["architectures", { ...model, config: { ...model.config, architectures: [EVIL] } }],
    ...Object.keys(model.config).filter((key) => key !== "architectures").map((key) => [`config ${key}`, text(key)] as const),
    ["an unknown field", text("quantization_config")],
    ["quant_method", { ...withTensor(model, lastTensor, (t) => ({ ...t, name: "model.norm.g_idx" })), config: { ...model.config, quantization_config: { quant_method: EVIL } } }],
    ["a key of config.json", { ...model, config: { ...model.config, [EVIL]: 1 } }],
    ["a tensor's name", withTensor(model, lastTensor, (t) => ({ ...t, name: `model.${EVIL}.weight` }))],
    ["a dtype", withTensor(model, lastTensor, (t) => ({ ...t, dtype: EVIL }))],
    ["metadata of a shard", withShard(model, { metadata: { format: EVIL, [EVIL]: EVIL } })],
    ["a shard's name in the index", { ...model, index: (index) => ({ ...index, weight_map: { ...(index["weight_map"] as object), [lastTensor]: `${EVIL}.safetensors` } }) }],
    ["a tensor's name in the index", { ...model, index: (index) => ({ ...index, weight_map: { ...(index["weight_map"] as object), [EVIL]: "model-00001-of-00002.safetensors" } }) }],
    ["metadata of the index", { ...model, index: (index) => ({ ...index, metadata: { [EVIL]: EVIL, total_size: EVIL } }) }],
    ["a name beside", { ...model, others: [[`${EVIL}.safetensors`, Buffer.from("x")], [`${EVIL}.json`, Buffer.from("{}")]] }]
  ])("%s", async (what, hf) => hfVerbs(what, written(filesOf(hf))))
})

describe("a Megatron checkpoint", () => {
  const yaml = () => String(base.files.get("run_config.yaml"))
  const quoted = `"${EVIL.replace(/[^\w[]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)}"`
  const withFile = (name: string, content: string): FileSet => megatronFiles({ ...base, files: new Map([...base.files, [name, Buffer.from(content)]]) })

  it("every text of run_config.yaml", async () => {
    const lines = yaml().split("\n")
    const textual = lines.flatMap((line, i) => (/^\s*[\w-]+: [A-Za-z]/.test(line) ? [i] : []))
    expect(textual.length).toBeGreaterThan(5)
    // All of one kind are treated alike: the provider, then ever further apart.
    for (let k = 0; k < textual.length; k = k < 6 ? k + 1 : k * 2) {
      const changed = lines.map((line, i) => (i === textual[k] ? line.replace(/: .*/, `: ${quoted}`) : line)).join("\n")
      await megatronVerbs(`run_config ${lines[textual[k]!]}`, written(withFile("run_config.yaml", changed)))
    }
  })

  it.each<readonly [what: string, files: () => FileSet]>([
    ["a key of run_config.yaml", () => withFile("run_config.yaml", `${yaml()}${quoted}: 1\n`)],
    ["a broken run_config.yaml", () => withFile("run_config.yaml", `a: ${EVIL}: [`)],
    ["the backend", () => withFile("metadata.json", JSON.stringify({ sharded_backend: EVIL }))],
    ["a tensor's key", () => megatronFiles({ ...base, entries: base.entries.map((e) => (e.key.endsWith("final_layernorm.weight") ? { ...e, key: `${EVIL}.weight` } : e)) })],
    ["an object's key", () => megatronFiles({ ...base, entries: base.entries.map((e) => (e.key.includes("final_layernorm._extra") ? { ...e, key: `${EVIL}/shard_0_1` } : e)) })],
    ["a data file", () => megatronFiles({ ...base, fileOf: () => `__0_${EVIL}.distcp` })],
    ["a tracker", () => new Map([...megatronFiles(base), ["latest_checkpointed_iteration.txt", Buffer.from(EVIL)]])],
    ["a folder beside", () => megatronFiles({ ...base, others: [[`${base.folder}/__9_${EVIL}.distcp`, Buffer.from("x")]] })]
  ])("%s", async (what, files) => megatronVerbs(what, written(files())))
})

describe("the rule itself", () => {
  it("the payload did reach the output, in its harmless form", () => {
    expect(seen.evil).toBeGreaterThan(100)
  })

  it("escapes what is not seen, and nothing else", () => {
    expect(escaped("a\u001bb\u00adc\u{e0041}d\ud800")).toBe("a\\u001bb\\u00adc\\udb40\\udc41d\\ud800")
    expect(escaped("naïve 模型 😀 é")).toBe("naïve 模型 😀 é")
    expect(cleaned({ "a\n": ["b\t", 1, null] })).toEqual({ "a\\u000a": ["b\\u0009", 1, null] })
    const plain = { a: ["b"] }
    expect(cleaned(plain)).toBe(plain)
    expect(safeJson({ a: "\u202e\u001b\n" }, 1)).toBe('{\n "a": "\\u202e\\u001b\\n"\n}')
    expect(JSON.parse(safeJson(EVIL))).toBe(EVIL)
  })
})
