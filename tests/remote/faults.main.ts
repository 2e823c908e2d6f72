/**
 * `npm run remote:faults [-- --runs N --writes N --commits N]`: imports from a Hub, imports to a bucket and exports to a Hub, of which one
 * answer, or every answer from one on, is spoiled: each fault at as many requests as make N runs in all (500, 200 and 80). Each run ends
 * with the bytes of the undisturbed one, or with a typed error and nothing published; what writes goes on with `--resume` and ends with
 * those bytes.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { Disk } from "../../src/index.ts"
import { startBucket } from "./bucket.ts"
import { commitFaulted, WRITE_FAULTS, writeFaulted } from "./faultedWrites.ts"
import { startFakeHub, TOKEN } from "./fakeHub.ts"
import { type Fault, FAULTS } from "./faults.ts"
import { faulted, importFrom } from "./faultedRuns.ts"
import { treeOf } from "../trees.ts"

const { values } = parseArgs({ options: { runs: { type: "string", default: "500" }, writes: { type: "string", default: "200" }, commits: { type: "string", default: "80" } } })
const work = mkdtempSync(join(tmpdir(), "remote-faults-"))
const [hf, local, target] = [join(work, "hf"), join(work, "local"), join(work, "target")]
const hub = await startFakeHub()
const bucket = await startBucket("checkpoints")
const wrong: Array<string> = []

/** Each fault at as many of the requests as make `runs` in all, once and for good. */
const sweep = async (what: string, promised: string, faults: ReadonlyArray<Fault>, requests: number, runs: number, run: (fault: Fault, at: number, all: boolean) => Promise<string | undefined>): Promise<void> => {
  if (runs === 0) return
  const places = Math.ceil(runs / faults.length / 2)
  const before = wrong.length
  for (const fault of faults) {
    for (let i = 0; i < places; i++) {
      const at = Math.floor(i * requests / places)
      for (const all of [false, true]) {
        const problem = await run(fault, at, all)
        if (problem !== undefined) wrong.push(`${what}: ${fault.name}, ${all ? "from" : "at"} request ${at}: ${problem}`)
      }
    }
  }
  const found = wrong.length - before
  console.log(`${faults.length * places * 2} ${what} with ${faults.length} faults at ${places} of ${requests} requests: ${found === 0 ? promised : `${found} wrong`}`)
}

/** No request has this number: nothing is spoiled. */
const NEVER = 1e9
const [undisturbed] = FAULTS
try {
  await Effect.runPromise(writeSample(families, samples["qwen3.5-vl"]!.tiny, hf, { overwrite: false }).pipe(Effect.provide(Disk.layer)))
  hub.repositories.set("org/model", { commit: "0123456789abcdef0123456789abcdef01234567", files: treeOf(hf) })
  Object.assign(process.env, { HF_ENDPOINT: hub.endpoint, HF_HOME: join(work, "home"), HF_TOKEN: TOKEN, XDG_STATE_HOME: join(work, "state") }, bucket.env)
  delete process.env["HF_HUB_OFFLINE"]
  await importFrom(hf, local)
  const [model, checkpoint] = [treeOf(hf), treeOf(local)]

  const reading = (fault: Fault, at: number, all: boolean) => faulted(hub, "hf://org/model", target, checkpoint, fault, at, all)
  await reading(undisturbed!, NEVER, false)
  await sweep("imports from a Hub", "the same bytes, or a typed error and nothing", FAULTS, hub.asked.length, Number(values.runs), reading)

  const writing = (fault: Fault, at: number, all: boolean) => writeFaulted(bucket, hf, "s3://checkpoints/run", "run/", checkpoint, fault, at, all)
  bucket.proxy.asked.length = 0
  await writing(undisturbed!, NEVER, false)
  await sweep("imports to a bucket", "the same objects, or a typed error and nothing published", WRITE_FAULTS, bucket.proxy.asked.length, Number(values.writes), writing)

  const committing = (fault: Fault, at: number, all: boolean) => commitFaulted(hub, hf, local, "org/written", model, fault, at, all)
  await committing(undisturbed!, NEVER, false)
  await sweep("exports to a Hub", "one commit, or a typed error and nothing", WRITE_FAULTS, hub.asked.length, Number(values.commits), committing)

  for (const line of wrong) console.log(line)
} finally {
  await hub.close()
  await bucket.close()
  rmSync(work, { recursive: true })
}
process.exit(wrong.length === 0 ? 0 : 1)
