/** Versions of ours, pulled by a receiver in Python that shares nothing with ours: the same bytes, and the same things refused. */
import { spawnSync } from "node:child_process"
import { cpSync, mkdtempSync, renameSync, rmSync, truncateSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { publishVersion, pullVersion, pushVersion } from "../../src/api/rollout.ts"
import type { BridgeError } from "../../src/errors.ts"
import { toPromise } from "../../src/io/attempt.ts"
import { Disk } from "../../src/io/Disk.ts"
import { fakeSglang, loaded } from "./engines.ts"
import { digests, writeModel, writeNext } from "./models.ts"

const python = process.argv[2] ?? ".venv-interop/bin/python"
const work = mkdtempSync(join(tmpdir(), "receivers-"))
const at = (name: string): string => join(work, name)
const run = <A>(effect: Effect.Effect<A, BridgeError, Disk>): Promise<A> => toPromise(Effect.provide(effect, Disk.layer))
const theirs = (...args: ReadonlyArray<string>) => spawnSync(python, [new URL("./receiver.py", import.meta.url).pathname, ...args], { encoding: "utf8" })
const root = at("versions")
const version = (n: number): string => join(root, `weight_v00000${n}`)

const problems: Array<string> = []
const check = (what: string, holds: boolean): void => {
  console.log(`${holds ? "ok" : "WRONG"}  ${what}`)
  if (!holds) problems.push(what)
}
const same = (a: string, b: string): boolean => JSON.stringify(digests(a)) === JSON.stringify(digests(b))
const refused = (what: string, answer: { readonly status: number | null; readonly stdout: string }, saying: string): void =>
  check(`${what}: ${answer.stdout.trim()}`, answer.status === 3 && answer.stdout.includes(saying))

try {
  writeModel(at("state1"), 1)
  for (const [i, share] of [0, 0.001, 0.01, 0.03, 0.01, 0.01, 0.01].entries()) writeNext(at(`state${i + 1}`), at(`state${i + 2}`), share, i + 2)
  for (let n = 1; n <= 8; n++) await run(publishVersion(at(`state${n}`), root, { full: n === 6 || n === 8, ...(n === 4 ? { encoding: "overwrite" as const } : {}) }))
  for (let n = 1; n <= 8; n++) {
    const pulled = theirs("pull", at("theirs"), root, String(n))
    await run(pullVersion(root, at("ours"), { version: n }))
    check(`version ${n}, by both: ${pulled.stdout}${pulled.stderr}`, pulled.status === 0 && same(at("theirs"), at(`state${n}`)) && same(at("ours"), at(`state${n}`)))
  }
  check("a second pull changes nothing", theirs("pull", at("theirs"), root, "8").status === 0 && same(at("theirs"), at("state8")))
  // A copy that one of the two has brought to a version is a copy for the other.
  theirs("pull", at("mixed"), root, "3")
  await run(pullVersion(root, at("mixed"), { version: 4 }))
  theirs("pull", at("mixed"), root, "5")
  check("both take turns", same(at("mixed"), at("state5")))
  theirs("pull", at("back"), root, "2")
  renameSync(version(3), at("aside"))
  refused("a missing version", theirs("pull", at("back"), root, "4"), "no version")
  renameSync(version(4), version(3))
  refused("swapped versions", theirs("pull", at("back"), root, "3"), "out of order")
  renameSync(version(3), version(4))
  renameSync(at("aside"), version(3))
  cpSync(at("back"), at("other"), { recursive: true })
  cpSync(at("state8"), at("other"), { recursive: true })
  refused("a wrong base", theirs("pull", at("other"), root, "5"), "checksum mismatch")
  // Behind an engine's route: deltas, and back, which begins with the whole version before.
  const engine = await fakeSglang(at("state1"), { receive: (local, source, n) => {
    const { status, stdout } = theirs("pull", local, source, String(n))
    return status === 0 ? undefined : stdout
  } })
  for (const n of [5, 3]) {
    const { complete } = await run(pushVersion(root, { engines: [engine.url], engineLocal: at("host"), version: n }))
    check(`pushed through /pull_weights: version ${n}`, complete && engine.version === String(n) && engine.problems.length === 0 && JSON.stringify([...engine.tensors]) === JSON.stringify([...loaded(at(`state${n}`))]))
  }
  await engine.close()
  truncateSync(join(version(3), "model-00000-of-00001.safetensors"), 300)
  check("a shard that is cut short", theirs("pull", at("back"), root, "3").status !== 0)
} finally {
  rmSync(work, { recursive: true, force: true })
}
if (problems.length > 0) process.exit(1)
