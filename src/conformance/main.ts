/**
 * `npm run conformance -- --cases DIR [--filter GLOB] [--checkpoints DIR]`: one line a case, the count alone on the last line,
 * exit code 1 if any case failed. With `--checkpoints`, the complete directories in there are run, each against the case of its name.
 */
import { Effect } from "effect"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { families } from "../../routes/index.ts"
import { matchesStars } from "../plan/match.ts"
import { Disk } from "../io/Disk.ts"
import { readCase } from "./Case.ts"
import { runCheckpoint } from "./CheckpointRunner.ts"
import { type CaseResult, runCase } from "./Runner.ts"

const MOST_PROBLEMS = 5

const { values } = parseArgs({
  options: { cases: { type: "string", multiple: true, default: ["tests/conformance/cases"] }, filter: { type: "string", default: "*" }, checkpoints: { type: "string" } }
})
const wanted = (name: string): boolean => matchesStars(values.filter, name)
const counts = { passed: 0, failed: 0, skipped: 0 }

const report = (id: string, result: CaseResult): void => {
  counts[result.status]++
  if (result.status === "passed") console.log(`passed   ${id} (${result.note})`)
  else if (result.status === "skipped") console.log(`skipped  ${id}: ${result.reason}`)
  else {
    console.log(`FAILED   ${id}`)
    for (const problem of result.problems.slice(0, MOST_PROBLEMS)) console.log(`           ${problem}`)
    if (result.problems.length > MOST_PROBLEMS) console.log(`           … ${result.problems.length} problems in all`)
  }
}

/** A bug in one case must not hide the others. */
const settle = (run: Effect.Effect<CaseResult, never, Disk>): Promise<CaseResult> =>
  Effect.runPromise(run.pipe(
    Effect.catchDefect((defect) => Effect.succeed<CaseResult>({ status: "failed", problems: [defect instanceof Error ? defect.stack ?? defect.message : String(defect)] })),
    Effect.provide(Disk.layer)
  ))

const namesIn = async (directory: string, suffix: string): Promise<ReadonlyArray<string>> =>
  (await readdir(directory)).filter((n) => n.endsWith(suffix)).map((n) => n.slice(0, n.length - suffix.length)).filter(wanted).sort()

const caseOf = async (directory: string, id: string) => readCase(await readFile(join(directory, `${id}.json`)))

for (const directory of values.cases) {
  const { checkpoints } = values
  for (const id of await namesIn(checkpoints ?? directory, checkpoints === undefined ? ".json" : "")) {
    report(id, await settle(Effect.promise(() => caseOf(directory, id)).pipe(
      Effect.flatMap((c) => (checkpoints === undefined ? runCase(families, c) : runCheckpoint(families, c, join(checkpoints, id)))))))
  }
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
process.exitCode = counts.failed > 0 ? 1 : 0
