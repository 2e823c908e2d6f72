/**
 * Everything that can go wrong, at every point where it can, and a table of what came of it:
 *
 *   npm run torture [-- --quick] [-- --only faults|changes|neighbours|power|below|kills]
 *
 * faults: each call of a job fails in each way; changes: a source is changed under the job; neighbours: so are the target and
 * the staging folder; power: what is not synced is lost; below: each call to the C library fails in each way, which needs a compiler;
 * kills: the real process on the real disk is killed. Exit code 1 if anything was lost, left behind or published by halves.
 */
import { parseArgs } from "node:util"
import { belowWalk } from "./below/belowWalk.ts"
import { changeWalk } from "./changeWalk.ts"
import { faultWalk, type WalkResult } from "./faultWalk.ts"
import { hurry, impatient } from "./hurry.ts"
import { killWalk } from "./killWalk.ts"
import { neighbourWalk } from "./neighbourWalk.ts"
import { powerWalk } from "./powerWalk.ts"
import { worlds } from "./worlds.ts"

const { values } = parseArgs({ options: { quick: { type: "boolean", default: false }, only: { type: "string" } } })
const wants = (walk: string): boolean => values.only === undefined || values.only === walk
const quick = values.quick

const rows: Array<readonly [string, string, string, string, string]> = []
const problems: Array<string> = []
const totals = new Map<string, { points: number; problems: number }>()
const take = (walk: string, job: string, results: ReadonlyMap<string, WalkResult>) => {
  for (const [kind, result] of results) {
    if (result.points === 0) continue
    rows.push([walk, job, kind, String(result.points), result.problems.length === 0 ? "survived" : `${result.problems.length} problems`])
    const total = totals.get(walk) ?? { points: 0, problems: 0 }
    totals.set(walk, { points: total.points + result.points, problems: total.problems + result.problems.length })
    problems.push(...result.problems)
  }
  process.stderr.write(`${walk}: ${job} done\n`)
}

const [slow, patient] = [hurry(), impatient()]
for (const world of wants("faults") || wants("changes") || wants("neighbours") || wants("power") ? await worlds() : []) {
  if (wants("faults")) {
    take("faults", world.name, await faultWalk(world, { every: quick ? 40 : 1, concurrency: 1 }))
    if (!quick) take("faults", `${world.name}, 4 at once`, await faultWalk(world, { every: 7, concurrency: 4 }))
  }
  if (wants("changes") && !world.name.includes("--resume")) take("changes", world.name, await changeWalk(world, { every: quick ? 97 : 5 }))
  if (wants("neighbours") && !world.name.includes("--resume")) take("neighbours", world.name, await neighbourWalk(world, { points: quick ? 9 : 90 }))
  if (wants("power")) take("power", world.name, await powerWalk(world, { points: quick ? 20 : 200, seed: 1 }))
}
slow()
patient()
if (wants("below")) take("below", "import, --overwrite, export", await belowWalk({ every: quick ? 61 : 1 }))
if (wants("kills")) take("kills", "import, --overwrite, export", await killWalk({ points: quick ? 18 : 216 }))

const head = ["walk", "job", "what happens", "points", "outcome"] as const
const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)))
const line = (cells: ReadonlyArray<string>) => cells.map((cell, i) => (i === 3 ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join("  ").trimEnd()
console.log([line(head), line(widths.map((w) => "-".repeat(w))), ...rows.map(line)].join("\n"))
for (const [walk, total] of totals) console.log(`${walk}: ${total.points} points, ${total.problems === 0 ? "all survived" : `${total.problems} problems`}`)
for (const problem of problems.slice(0, 100)) console.error(problem)
process.exitCode = problems.length === 0 ? 0 : 1
