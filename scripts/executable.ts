/**
 * `npm run executable [-- OUT]`: the command line and Node in one file, for machines without Node. Default: `dist/executable`.
 * Node's own way (https://nodejs.org/api/single-executable-applications.html): a copy of the running Node with the program inside.
 */
import { execFileSync } from "node:child_process"
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { rolldown } from "rolldown"
import { THREAD_ASSET } from "../src/engine/internal/workerScript.ts"

const root = new URL("..", import.meta.url).pathname
const out = resolve(process.argv[2] ?? `${root}dist/executable/convert_megatron_mimo`)
/** Marks where Node looks for the program; the value is Node's. */
const FUSE = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2"

const bundle = async (input: string, file: string): Promise<void> => {
  const build = await rolldown({ input, platform: "node", logLevel: "warn" })
  await build.write({ file, format: "cjs", minify: true, codeSplitting: false })
  await build.close()
}

const work = mkdtempSync(join(tmpdir(), "executable-"))
try {
  await bundle(`${root}src/cli/bin.ts`, join(work, "main.cjs"))
  await bundle(`${root}src/engine/internal/worker.ts`, join(work, "thread.cjs"))
  writeFileSync(join(work, "config.json"), JSON.stringify({
    main: join(work, "main.cjs"),
    output: join(work, "program.blob"),
    disableExperimentalSEAWarning: true,
    // Code caches of another processor or version would be refused with a warning; the file is built once and runs anywhere.
    useCodeCache: false,
    assets: { [THREAD_ASSET]: join(work, "thread.cjs") }
  }))
  execFileSync(process.execPath, ["--experimental-sea-config", join(work, "config.json")], { stdio: ["ignore", "ignore", "pipe"] })
  const program = join(work, "program")
  copyFileSync(process.execPath, program)
  chmodSync(program, 0o755)
  const postject = createRequire(import.meta.url).resolve("postject/dist/cli.js")
  execFileSync(process.execPath, [postject, program, "NODE_SEA_BLOB", join(work, "program.blob"), "--sentinel-fuse", FUSE], { stdio: ["ignore", "ignore", "pipe"] })
  mkdirSync(dirname(out), { recursive: true })
  copyFileSync(program, out)
  chmodSync(out, 0o755)
  console.log(out)
} finally {
  rmSync(work, { recursive: true, force: true })
}
