/** The real command, interrupted at one call of the file system: what it says, how it ends, what it leaves. */
import { spawn, spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { errorDocument } from "../../src/cli/documents.ts"
import { program } from "../program.ts"

const CHILD = new URL("../torture/child.ts", import.meta.url).pathname
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
  const child = spawn(process.execPath, [CHILD, at, signal, ...args], { stdio: ["ignore", "pipe", "pipe"] })
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
    const early = await interrupted(EARLY, signal, "--json")
    expect([early.code, early.err, early.left]).toEqual([exitCode, "", []])
    expect(JSON.parse(early.out)).toEqual({ ok: false, command: "import", schema: 1, exitCode, error: { kind: "Interrupted", code: "interrupted", signal, message: `interrupted by ${signal}`, exitCode } })
    errorDocument.parse(JSON.parse(early.out))
    const late = await interrupted(LATE, signal, "--json")
    expect([late.code, late.err]).toEqual([exitCode, ""])
    expect(JSON.parse(late.out)).toMatchObject({ ok: false, error: { kind: "Interrupted", signal, message: expect.stringContaining("--resume"), exitCode } })
  })
})
