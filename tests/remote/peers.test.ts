/** An installation without the packages of clouds: what needs one says which, and how to get it; everything else works. */
import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { Disk } from "../../src/index.ts"
import packageJson from "../../package.json" with { type: "json" }

const work = mkdtempSync(join(tmpdir(), "bare-"))
const modules = new URL("../../node_modules", import.meta.url).pathname
const cli = (...args: ReadonlyArray<string>) => {
  const env = { ...process.env, HF_TOKEN: "hf_of_the_tests", HF_ENDPOINT: "http://127.0.0.1:9", XDG_STATE_HOME: join(work, "state"), HF_HOME: join(work, "home") }
  const { status, stderr, stdout } = spawnSync(process.execPath, [join(work, "dist", "bin.js"), ...args], { cwd: work, encoding: "utf8", env })
  return { code: status, out: stdout, err: stderr }
}

beforeAll(async () => {
  cpSync(dirname(process.env["COMMAND_UNDER_TEST"]!), join(work, "dist"), { recursive: true })
  mkdirSync(join(work, "node_modules"))
  writeFileSync(join(work, "package.json"), '{"type":"module"}')
  for (const name of Object.keys(packageJson.dependencies)) symlinkSync(join(modules, name), join(work, "node_modules", name))
  await Effect.runPromise(writeSample(families, samples["qwen3.5-vl"]!.tiny, join(work, "hf"), { overwrite: false }).pipe(Effect.provide(Disk.layer)))
  expect(cli("import", "--hf-model", "hf", "--megatron-path", "megatron", "-q").code).toBe(0)
})
afterAll(() => rmSync(work, { recursive: true }))

describe("without the packages of clouds", () => {
  it.each([
    ["is read from a bucket", "@aws-sdk/client-s3", ["inspect", "s3://models/run"]],
    ["is written to a bucket", "@aws-sdk/client-s3", ["import", "--hf-model", "hf", "--megatron-path", "s3://models/run"]],
    ["is written to the Hub", "@huggingface/hub", ["export", "--hf-model", "hf", "--megatron-path", "megatron", "--hf-path", "hf://org/model"]]
  ])("a model that %s asks for %s in one line, with the command", (_, name, args) => {
    const { code, err } = cli(...args)
    expect(code, err).toBe(7)
    expect(err.split("\n").filter((line) => line.includes(name))).toEqual([expect.stringMatching(new RegExp(`^error: .*needs the package ${name}`)), `  npm install ${name}`])
    expect(err).not.toContain(" at ")
  })
})
