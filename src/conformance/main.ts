/**
 * `npm run conformance -- --cases DIR [--filter GLOB]`: one line a case, the count alone on the last line, exit code 1 if any
 * case failed.
 */
import { Effect } from "effect"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { families } from "../../routes/index.ts"
import { wildcard } from "../convert/match.ts"
import { Disk } from "../io/Disk.ts"
import { readCase } from "./Case.ts"
import { runCase } from "./Runner.ts"

const MOST_PROBLEMS = 5

const { values } = parseArgs({
  options: { cases: { type: "string", multiple: true, default: ["tests/conformance/cases"] }, filter: { type: "string", default: "*" } }
})
const wanted = wildcard(values.filter, "anything")
const counts = { passed: 0, failed: 0, skipped: 0 }
for (const directory of values.cases) {
  for (const name of (await readdir(directory)).filter((n) => n.endsWith(".json")).sort()) {
    const id = name.slice(0, -".json".length)
    if (!wanted.test(id)) continue
    const result = await Effect.runPromise(
      Effect.promise(() => readFile(join(directory, name))).pipe(
        Effect.flatMap((bytes) => runCase(families, readCase(bytes))),
        Effect.catchDefect((defect) => Effect.succeed({ status: "failed" as const, problems: [defect instanceof Error ? defect.stack ?? defect.message : String(defect)] })),
        Effect.provide(Disk.layer)
      )
    )
    counts[result.status]++
    if (result.status === "passed") console.log(`passed   ${id} (${result.note})`)
    else if (result.status === "skipped") console.log(`skipped  ${id}: ${result.reason}`)
    else {
      console.log(`FAILED   ${id}`)
      for (const problem of result.problems.slice(0, MOST_PROBLEMS)) console.log(`           ${problem}`)
      if (result.problems.length > MOST_PROBLEMS) console.log(`           … ${result.problems.length} problems in all`)
    }
  }
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
process.exitCode = counts.failed > 0 ? 1 : 0
