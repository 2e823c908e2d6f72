/**
 * A sample of the corpus through the whole command line: exit code, one message on stderr, nothing on stdout, nothing left behind.
 * Those that are out to take memory or to block get a process of their own, which says what it took. What the messages say is
 * checked in the other files here.
 */
import { spawn } from "node:child_process"
import { existsSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { METER, type Usage, usageOf } from "../measure/usage.ts"
import { program } from "../program.ts"
import type { BadCase, Command } from "./corpus/Case.ts"
import { snapshot, writeFileSet } from "./corpus/FileSet.ts"
import { hfBadConfigs } from "./corpus/hfBadConfigs.ts"
import { hfBadFiles } from "./corpus/hfBadFiles.ts"
import { hfBadHeaders } from "./corpus/hfBadHeaders.ts"
import { hfBadIndexes } from "./corpus/hfBadIndexes.ts"
import { hfBadModels } from "./corpus/hfBadModels.ts"
import { checkpointOf } from "./corpus/Megatron.ts"
import { megatronBadFolders } from "./corpus/megatronBadFolders.ts"
import { megatronBadItems } from "./corpus/megatronBadItems.ts"
import { megatronBadPickles } from "./corpus/megatronBadPickles.ts"
import { megatronBadTables } from "./corpus/megatronBadTables.ts"
import { runCli } from "../cli/run.ts"
import { soundOf, workFolder } from "./run.ts"

const MOST_MEMORY = 512 << 20

const work = workFolder("hostile-cli")
const sound = await soundOf(work)
const bases = { llama: await checkpointOf("llama"), qwen2: await checkpointOf("qwen2"), qwen3: await checkpointOf("qwen3") }

const hf = [...hfBadFiles, ...hfBadHeaders, ...hfBadIndexes, ...hfBadModels, ...hfBadConfigs]
const megatron = [megatronBadFolders, megatronBadPickles, megatronBadTables, megatronBadItems].flatMap((cases) => cases(bases))

const chosen: ReadonlyArray<readonly [id: string, command: Command, exitCode: number]> = [
  ["file/length-over-limit", "inspect", 3],
  ["file/a-fifo", "import", 3],
  ["file/a-link-out", "import", 3],
  ["file/git-lfs-pointer", "inspect", 3],
  ["directory/absent", "import", 3],
  ["header/deep-objects", "inspect", 3],
  ["header/overlong-utf8", "import", 3],
  ["header/place/overlap-exact", "import", 3],
  ["index/name/parent-deep", "import", 3],
  ["index/missing-shard", "inspect", 3],
  ["model/name-with-control-characters", "import", 3],
  ["model/all-four-bit", "import", 3],
  ["config/many-values", "import", 3],
  ["config/architectures/very-long", "import", 4],
  ["config/num_hidden_layers/nan", "export", 3],
  ["config/together/as-many-layers-as-fit", "import", 3],
  ["folder/data-file-is-a-fifo", "export", 3],
  ["folder/metadata-is-huge", "inspect", 3],
  ["pickle/forbidden/os system", "inspect", 3],
  ["pickle/bomb/twenty-million-lists", "inspect", 3],
  ["pickle/bomb/chunks-are-laughs", "export", 3],
  ["table/file/parent-deep", "export", 3],
  ["table/type/too-many-chunks", "export", 3],
  ["item/zip/crc-of-the-data", "export", 3],
  ["item/pickle/gadget", "export", 3],
  ["item/flipped/the-last-weight", "export", 3]
]

/** Run as processes. */
const greedy: ReadonlySet<string> = new Set([
  "file/a-fifo", "header/deep-objects", "config/many-values", "config/together/as-many-layers-as-fit", "folder/metadata-is-huge",
  "pickle/bomb/twenty-million-lists", "pickle/bomb/chunks-are-laughs", "table/type/too-many-chunks"
])

interface Finished {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  readonly usage: Usage
}

const asProcess = (args: ReadonlyArray<string>): Promise<Finished> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--max-old-space-size=256", "--import", METER, program, ...args], { stdio: ["ignore", "pipe", "pipe", "pipe"] })
    const texts = ["", "", "", ""]
    for (const i of [1, 2, 3]) child.stdio[i]!.on("data", (part: Buffer) => { texts[i] += part.toString() })
    child.on("error", reject)
    child.on("close", (code, signal) => resolve({ code, signal, stdout: texts[1]!, stderr: texts[2]!, usage: usageOf(texts[3]!) }))
  })

const argumentsOf = (command: Command, bad: BadCase, isHf: boolean, path: string, target: string): ReadonlyArray<string> => {
  const own = sound[bad.architecture ?? "llama"]
  if (command === "inspect") return ["inspect", path]
  if (command === "import") return ["import", "--hf-model", path, "--megatron-path", target]
  return ["export", "--hf-model", isHf ? path : own.hf, "--megatron-path", isHf ? own.megatron : path, "--hf-path", target]
}

const prepare = (id: string) => {
  const bad = hf.find((c) => c.id === id) ?? megatron.find((c) => c.id === id)!
  const folder = join(work, id.replaceAll(/\W/g, "-"))
  const source = join(folder, "source")
  writeFileSet(source, bad.files())
  return { bad, folder, source, path: join(source, bad.path ?? ""), target: join(folder, "target") }
}

const refused = (id: string, { code, err, out }: { readonly code: number | null; readonly err: string; readonly out: string }, exitCode: number, says: ReadonlyArray<string>): void => {
  expect.soft(code, id).toBe(exitCode)
  expect.soft(out).toBe("")
  expect.soft(err).toMatch(/^error: [^\n]+\n( {2}[^\n]+\n)*$/)
  expect.soft(says.filter((text) => !err.includes(text)), err).toEqual([])
}

describe("the command refuses", () => {
  it("only what the corpus has", () => {
    expect([...greedy].filter((id) => !chosen.some(([known]) => known === id))).toEqual([])
  })

  it.each(chosen)("%s, in %s", { timeout: 90_000 }, async (id, command, exitCode) => {
    const { bad, folder, path, source, target } = prepare(id)
    const before = snapshot(source)
    const args = argumentsOf(command, bad, hf.includes(bad), path, target)
    if (greedy.has(id)) {
      const { code, signal, stderr, stdout, usage } = await asProcess(args)
      expect.soft(signal).toBe(null)
      expect.soft(usage.bytes).toBeLessThan(MOST_MEMORY)
      refused(id, { code, err: stderr, out: stdout }, exitCode, bad.says)
    } else refused(id, await runCli(args), exitCode, bad.says)
    expect.soft(snapshot(source)).toEqual(before)
    expect.soft(readdirSync(folder)).toEqual(["source"])
    rmSync(folder, { recursive: true })
  })

  it("and says so in JSON where JSON was asked for", async () => {
    const { path, target } = prepare("header/entry/dtype-unknown")
    const { code, err, out } = await runCli(["import", "--hf-model", path, "--megatron-path", target, "--json"])
    expect([code, err, existsSync(target)]).toEqual([3, "", false])
    expect(JSON.parse(out)).toMatchObject({
      ok: false,
      error: { kind: "InvalidFile", code: "safetensors/dtype", path: join(path, "model.safetensors"), tensor: "lm_head.weight", offset: 66, exitCode: 3 }
    })
  })
})
