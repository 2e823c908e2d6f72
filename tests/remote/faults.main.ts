/**
 * `npm run remote:faults [-- --runs N]`: imports from a Hub of which one answer, or every answer from one on, is spoiled: each fault at as
 * many requests as make N runs in all (500). Each run ends with the bytes of the undisturbed one, or with a typed error and nothing.
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
import { startFakeHub, TOKEN } from "./fakeHub.ts"
import { FAULTS } from "./faults.ts"
import { faulted, importFrom, treeOf } from "./faultedRuns.ts"

const { values } = parseArgs({ options: { runs: { type: "string", default: "500" } } })
const work = mkdtempSync(join(tmpdir(), "remote-faults-"))
const [hf, local, target] = [join(work, "hf"), join(work, "local"), join(work, "target")]
const hub = await startFakeHub()
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
  console.log(`${runs} imports with ${FAULTS.length} faults at ${places} of ${requests} requests: ${wrong.length === 0 ? "the same bytes, or a typed error and nothing" : `${wrong.length} wrong`}`)
  for (const line of wrong) console.log(line)
} finally {
  await hub.close()
  rmSync(work, { recursive: true })
}
process.exit(wrong.length === 0 ? 0 : 1)
