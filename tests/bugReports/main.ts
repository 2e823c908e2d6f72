/**
 * `node tests/bugReports/main.ts --made DIR [--filter WORD]`: run the command line over rebuilt bug reports (expected.ts). `DIR` has a
 * folder for each, made by tests/bugReports/run.sh.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import bundle from "../bundle.ts"
import { type Expected, expected } from "./expected.ts"

const { values } = parseArgs({ options: { made: { type: "string" }, filter: { type: "string" } } })
if (values.made === undefined) throw new Error("--made DIR is missing")
const made = values.made
const removeBundle = await bundle()
const { program } = await import("../program.ts")

const cli = (...args: ReadonlyArray<string>): { readonly code: number | null; readonly text: string } => {
  const { status, stderr, stdout } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8", maxBuffer: 64 << 20 })
  return { code: status, text: `${stdout}\n${stderr}` }
}

/** Name → dtype, shape and bytes of every tensor of the `*.safetensors` files that count: those of the index, where there is one. */
const tensorsOf = (directory: string): ReadonlyMap<string, string> => {
  const index = join(directory, "model.safetensors.index.json")
  const found = new Map<string, string>()
  const map: Record<string, string> | undefined = existsSync(index) ? JSON.parse(readFileSync(index, "utf8")).weight_map : undefined
  const files = map ? [...new Set(Object.values(map))] : readdirSync(directory).filter((name) => name.endsWith(".safetensors"))
  for (const file of files) {
    const bytes = readFileSync(join(directory, file))
    const header = Number(bytes.readBigUInt64LE(0))
    for (const [name, { data_offsets, dtype, shape }] of Object.entries<{ dtype: string; shape: Array<number>; data_offsets: [number, number] }>(JSON.parse(bytes.subarray(8, 8 + header).toString("utf8")))) {
      if (name === "__metadata__" || (map && map[name] !== file)) continue
      const payload = bytes.subarray(8 + header + data_offsets[0], 8 + header + data_offsets[1])
      found.set(name, `${dtype} [${shape}] ${payload.toString("base64")}`)
    }
  }
  return found
}

const differences = (right: string, ours: string): ReadonlyArray<string> => {
  const [a, b] = [tensorsOf(right), tensorsOf(ours)]
  return [...new Set([...a.keys(), ...b.keys()])].filter((name) => a.get(name) !== b.get(name))
}

const misses = (text: string, words: ReadonlyArray<RegExp>): ReadonlyArray<string> =>
  words.filter((word) => !word.test(text)).map((word) => `does not say ${word}`)

const run = (name: string, scratch: string): ReadonlyArray<string> => {
  const folder = join(made, name)
  const { outcome = { exact: true }, ...rest }: Partial<Expected> = expected[name] ?? {}
  const isExport = existsSync(join(folder, rest.megatron ?? "mcore"))
  const model = join(folder, rest.model ?? (isExport ? "hf" : ""))
  let megatron = join(folder, rest.megatron ?? "mcore")
  const problems: Array<string> = []
  const exported = join(scratch, "exported")
  const exportTo = (from: string) => cli("export", "--hf-model", model, "--megatron-path", from, "--hf-path", exported)

  let done = { code: 0 as number | null, text: "" }
  if (!isExport) {
    megatron = join(scratch, "megatron")
    done = cli("import", "--hf-model", model, "--megatron-path", megatron, ...(rest.import ?? []))
  }
  if (done.code === 0) {
    const next = exportTo(megatron)
    done = { code: next.code, text: `${done.text}\n${next.text}` }
  }
  if (/\n\s+at .*\.ts:\d+/.test(done.text)) problems.push("a stack trace")
  if ("refused" in outcome) {
    if (done.code !== 2 && done.code !== 3 && done.code !== 4) problems.push(`exit code ${done.code} where a refusal was due`)
    problems.push(...misses(done.text, outcome.refused))
    if (existsSync(exported)) problems.push("something was written")
  } else if ("other" in outcome) {
    if (done.code !== 0) problems.push(`exit code ${done.code}`)
    problems.push(...misses(done.text, outcome.other))
    const written = done.code === 0 ? tensorsOf(exported) : new Map<string, string>()
    if (outcome.tied && written.get("lm_head.weight") !== written.get("model.embed_tokens.weight")) problems.push("the head is not the embedding")
  } else {
    if (done.code !== 0) problems.push(`exit code ${done.code}`)
    else problems.push(...differences(isExport && existsSync(join(folder, "hf/model.safetensors")) ? join(folder, "hf") : model, exported).map((tensor) => `${tensor} differs`))
    problems.push(...misses(done.text, outcome.says ?? []))
  }
  if (rest.relabel !== undefined) {
    const mended = join(scratch, "mended")
    const relabelled = cli("relabel", megatron, mended, "--to", rest.relabel)
    if (relabelled.code !== 0) problems.push(`relabel: exit code ${relabelled.code}: ${relabelled.text}`)
    else {
      const again = exportTo(mended)
      if (again.code !== 0) problems.push(`export after relabel: exit code ${again.code}: ${again.text}`)
      else problems.push(...differences(join(folder, "hf"), exported).map((tensor) => `after relabel ${tensor} differs`))
    }
  }
  if (rest.doctor) {
    const { text } = cli("doctor", isExport ? megatron : model)
    problems.push(...misses(text, rest.doctor.says).map((p) => `doctor ${p}`))
    for (const word of rest.doctor.never ?? []) if (word.test(text)) problems.push(`doctor says ${word}`)
  }
  return problems.length > 0 ? [...problems, done.text.trim()] : []
}

const names = readdirSync(made).filter((name) => statSync(join(made, name)).isDirectory() && name.includes(values.filter ?? "")).sort()
let failed = 0
for (const name of names) {
  const scratch = mkdtempSync(join(tmpdir(), "bug-report-"))
  try {
    const problems = run(name, scratch)
    if (problems.length === 0) continue
    failed += 1
    console.log(`FAILED ${name}\n${problems.map((p) => `  ${p.replaceAll("\n", "\n    ")}`).join("\n")}`)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}
removeBundle()
console.log(`bug reports: ${names.length - failed} passed, ${failed} failed`)
process.exitCode = failed > 0 || names.length === 0 ? 1 : 0
