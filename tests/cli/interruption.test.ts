/** The real command, interrupted at one call of the file system: what it says, how it ends, what it leaves. */
import { spawn, spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { errorDocument } from "../../src/cli/documents/failures.ts"
import { bundled } from "../bundled.ts"
import { program } from "../program.ts"
import { CHILD } from "../torture/killWalk.ts"

const work = mkdtempSync(join(tmpdir(), "interrupted-"))
const hf = join(work, "hf")
afterAll(() => rmSync(work, { recursive: true }))
beforeAll(() => {
  expect(spawnSync(process.execPath, [program, "sample", hf]).status).toBe(0)
})

/** Before anything is written, and in the middle of the writing. */
const EARLY = "3"
const LATE = "payload+20"

let number = 0

const interrupted = async (at: string, signal: string, ...flags: ReadonlyArray<string>) => {
  const folder = join(work, String(number++))
  mkdirSync(folder)
  const args = ["import", "--hf-model", hf, "--megatron-path", join(folder, "out"), "--concurrency", "16", "--max-memory", "8MB", ...flags]
  const child = spawn(process.execPath, [await bundled(CHILD), at, signal, ...args], { stdio: ["ignore", "pipe", "pipe"] })
  let [out, err] = ["", ""]
  child.stdout.on("data", (part: Buffer) => { out += part.toString() })
  child.stderr.on("data", (part: Buffer) => { err += part.toString() })
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve))
  return { code, out, err, left: readdirSync(folder) }
}

describe.each([["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const)("%s", (signal, exitCode) => {
  it("before anything is written: one line, nothing left behind", async () => {
    expect(await interrupted(EARLY, signal)).toEqual({ code: exitCode, out: "", err: `interrupted by ${signal}\n`, left: [] })
  })

  it("while it writes: what is done is kept for --resume, and that is said", async () => {
    const { code, err, left, out } = await interrupted(LATE, signal)
    expect([code, out, left]).toEqual([exitCode, "", [".out.partial"]])
    expect(err).toMatch(/(^|\n)interrupted by SIG(INT|TERM|HUP); nothing was published\n {2}.*--resume.*\n$/)
  })

  it("with --json: one document on stdout", async () => {
    const { code, err, out } = await interrupted(LATE, signal, "--json")
    expect([code, err]).toEqual([exitCode, ""])
    const document: unknown = JSON.parse(out)
    expect(document).toMatchObject({ ok: false, command: "import", error: { kind: "Interrupted", signal, message: expect.stringContaining("--resume"), exitCode } })
    expect(errorDocument.parse(document)).toEqual(document)
  })
})

it("with --json before anything is written", async () => {
  const { code, err, left, out } = await interrupted(EARLY, "SIGINT", "--json")
  expect([code, err, left]).toEqual([130, "", []])
  expect(JSON.parse(out)).toEqual({ ok: false, command: "import", schema: 1, exitCode: 130, error: { kind: "Interrupted", code: "interrupted", signal: "SIGINT", message: "interrupted by SIGINT", exitCode: 130 } })
})
