/**
 * `npm run remote:faults [-- --runs N --writes N]`: imports from a Hub, and imports to a bucket, of which one answer, or every answer from
 * one on, is spoiled: each fault at as many requests as make N runs in all (500 and 200). Each run ends with the bytes of the undisturbed
 * one, or with a typed error and nothing published; after that `--resume` ends with those bytes.
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
import { WRITE_FAULTS, writeFaulted } from "./faultedWrites.ts"
import { startFakeHub, TOKEN } from "./fakeHub.ts"
import { FAULTS } from "./faults.ts"
import { faulted, importFrom, treeOf } from "./faultedRuns.ts"

const { values } = parseArgs({ options: { runs: { type: "string", default: "500" }, writes: { type: "string", default: "200" } } })
const work = mkdtempSync(join(tmpdir(), "remote-faults-"))
const [hf, local, target] = [join(work, "hf"), join(work, "local"), join(work, "target")]
const hub = await startFakeHub()
const bucket = await startBucket("checkpoints")
const wrong: Array<string> = []
let runs = 0
try {
  await Effect.runPromise(writeSample(families, samples["qwen3.5-vl"]!.tiny, hf, { overwrite: false }).pipe(Effect.provide(Disk.layer)))
  hub.repositories.set("org/model", { commit: "0123456789abcdef0123456789abcdef01234567", files: treeOf(hf) })
  Object.assign(process.env, { HF_ENDPOINT: hub.endpoint, HF_HOME: join(work, "home"), HF_TOKEN: TOKEN })
  delete process.env["HF_HUB_OFFLINE"]
  await importFrom(hf, local)
  const expected = treeOf(local)
  hub.asked.length = 0
  await importFrom("hf://org/model", target)
  const requests = hub.asked.length
  const places = Math.ceil(Number(values.runs) / FAULTS.length / 2)
  for (const fault of FAULTS) {
    for (let i = 0; i < places; i++) {
      const at = Math.floor(i * requests / places)
      for (const all of [false, true]) {
        runs++
        const problem = await faulted(hub, "hf://org/model", target, expected, fault, at, all)
        if (problem !== undefined) wrong.push(`${fault.name}, ${all ? "from" : "at"} request ${at}: ${problem}`)
      }
    }
  }
  console.log(`${runs} imports from a Hub with ${FAULTS.length} faults at ${places} of ${requests} requests: ${wrong.length === 0 ? "the same bytes, or a typed error and nothing" : `${wrong.length} wrong`}`)
  const writes = Number(values.writes)
  if (writes > 0) {
    Object.assign(process.env, bucket.env, { XDG_STATE_HOME: join(work, "state") })
    const before = wrong.length
    bucket.proxy.asked.length = 0
    const [fault] = WRITE_FAULTS
    await writeFaulted(bucket, hf, "s3://checkpoints/run", "run/", expected, fault!, 1000, false)
    const most = bucket.proxy.asked.length
    const spots = Math.ceil(writes / WRITE_FAULTS.length / 2)
    let written = 0
    for (const fault of WRITE_FAULTS) {
      for (let i = 0; i < spots; i++) {
        const at = Math.floor(i * most / spots)
        for (const all of [false, true]) {
          written++
          const problem = await writeFaulted(bucket, hf, "s3://checkpoints/run", "run/", expected, fault, at, all)
          if (problem !== undefined) wrong.push(`to a bucket: ${fault.name}, ${all ? "from" : "at"} request ${at}: ${problem}`)
        }
      }
    }
    console.log(`${written} imports to a bucket with ${WRITE_FAULTS.length} faults at ${spots} of ${most} requests: ${wrong.length === before ? "the same objects, or a typed error and nothing published" : `${wrong.length - before} wrong`}`)
  }
  for (const line of wrong) console.log(line)
} finally {
  await hub.close()
  await bucket.close()
  rmSync(work, { recursive: true })
}
process.exit(wrong.length === 0 ? 0 : 1)
