/**
 * The Hub of the tests and the Hub's cache, held against the official Python client: it downloads from that Hub, we read what it has put
 * into the cache without a network, and it finds in a cache that we filled what it would have put there itself.
 *
 *     node tests/interop/hub.ts PYTHON
 */
import { deepStrictEqual, strictEqual } from "node:assert"
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { startFakeHub, TOKEN } from "../remote/fakeHub.ts"
import { program } from "../program.ts"
import { treeOf } from "../trees.ts"

const [python = "python3"] = process.argv.slice(2)
const run = promisify(execFile)
const COMMIT = "0123456789abcdef0123456789abcdef01234567"
const work = mkdtempSync(join(tmpdir(), "hub-interop-"))
const hub = await startFakeHub()

try {
  const model = join(work, "model")
  await run(process.execPath, [program, "sample", "--model", "qwen3.5-vl", model, "--quiet"])
  const files = treeOf(model)
  hub.repositories.set("org/model", { commit: COMMIT, files })
  hub.repositories.set("org/gated", { commit: COMMIT, files, gated: true })

  const client = (home: string, script: string, offline = false) =>
    run(python, ["-c", script], { env: { ...process.env, HF_ENDPOINT: hub.endpoint, HF_HOME: home, HF_HUB_DISABLE_XET: "1", HF_HUB_DISABLE_TELEMETRY: "1", HF_TOKEN: TOKEN, HF_HUB_OFFLINE: offline ? "1" : "0" } })
  const ours = (home: string, args: ReadonlyArray<string>, offline = false) =>
    run(process.execPath, [program, ...args, "--quiet"], { env: { ...process.env, HF_ENDPOINT: hub.endpoint, HF_HOME: home, HF_HUB_OFFLINE: offline ? "1" : "0", HF_TOKEN: TOKEN } })
  const SNAPSHOT = "from huggingface_hub import snapshot_download; print(snapshot_download('org/model'))"

  const theirs = join(work, "theirs")
  const { stdout } = await client(theirs, SNAPSHOT)
  deepStrictEqual([...treeOf(stdout.trim()).keys()], [...files.keys()])
  const refused = await client(join(work, "none"), "import os; os.environ.pop('HF_TOKEN'); from huggingface_hub import snapshot_download; snapshot_download('org/gated', token=False)").then(() => "", (error: { stderr: string }) => error.stderr)
  strictEqual(/GatedRepoError/.test(refused), true, refused)
  strictEqual(hub.asked.some(({ authorization, host }) => host === "cdn" && authorization !== undefined), false, "the Python client sent its token to the CDN")
  console.log("the official Python client downloads from the Hub of the tests, and understands its refusals")

  await ours(theirs, ["import", "--hf-model", "org/model", "--megatron-path", join(work, "a")], true)
  await ours(theirs, ["import", "--hf-model", model, "--megatron-path", join(work, "b")], true)
  deepStrictEqual(treeOf(join(work, "a")), treeOf(join(work, "b")))
  console.log("what it has put into its cache is imported without a network")

  const own = join(work, "own")
  await ours(own, ["import", "--hf-model", "hf://org/model", "--megatron-path", join(work, "c"), "--cache"])
  deepStrictEqual(treeOf(join(work, "c")), treeOf(join(work, "b")))
  const found = await client(own, "from huggingface_hub import snapshot_download; print(snapshot_download('org/model', allow_patterns=['*.safetensors', '*.json']))", true)
  const cached = treeOf(found.stdout.trim())
  for (const [name, bytes] of cached) strictEqual(bytes.equals(files.get(name)!), true, name)
  strictEqual([...files.keys()].filter((name) => name.endsWith(".safetensors")).every((name) => cached.has(name)), true)
  const verified = await client(own, "from huggingface_hub import scan_cache_dir; r=list(scan_cache_dir().repos)[0]; print(r.repo_id, [sorted(v.refs) for v in r.revisions])")
  strictEqual(verified.stdout.trim(), "org/model [['main']]")
  console.log("it finds in the cache that an import with --cache has filled what it would have put there, and scans it without a complaint")
} finally {
  await hub.close()
  rmSync(work, { recursive: true })
}
