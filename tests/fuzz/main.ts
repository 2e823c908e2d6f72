/**
 * `npm run fuzz -- [--minutes N] [--seed N] [--target NAME] [--replay FILE]`: every parser, and what is made of its results, with
 * inputs that are nearly right. Stops at the first crash and keeps its input in regressions/, which the tests replay.
 */
import { createHash } from "node:crypto"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { formats } from "./formats.ts"
import { plans } from "./plans.ts"
import { Random } from "./Random.ts"
import { type Target, tryOne } from "./Target.ts"

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "1" }, seed: { type: "string" }, target: { type: "string" }, replay: { type: "string" }, keep: { type: "boolean", default: false } }
})

const all: ReadonlyArray<Target> = [...formats, ...plans]
const targets = values.target === undefined ? all : all.filter((t) => t.name === values.target)
if (targets.length === 0) {
  console.error(`no target ${values.target}; there are ${all.map((t) => t.name).join(", ")}`)
  process.exit(2)
}

const REGRESSIONS = new URL("regressions/", import.meta.url).pathname

if (values.replay !== undefined) {
  const crash = tryOne(targets[0]!, readFileSync(values.replay))
  console.log(crash ? crash.reason : "survived")
  process.exit(crash ? 1 : 0)
}

const seed = values.seed === undefined ? Date.now() >>> 0 : Number(values.seed)
console.log(`seed ${seed}`)
const random = new Random(seed)
const end = performance.now() + Number(values.minutes) * 60_000
const counts = new Map(targets.map((t) => [t.name, 0]))
const seen = new Set<string>()
while (performance.now() < end) {
  for (const target of targets) {
    const turn = performance.now() + 200
    while (performance.now() < turn) {
      counts.set(target.name, counts.get(target.name)! + 1)
      const crash = tryOne(target, target.make(random))
      if (!crash) continue
      const what = crash.reason.split("\n").slice(0, 2).join(" ").replaceAll(/\d+/g, "#")
      if (seen.has(target.name + what)) continue
      seen.add(target.name + what)
      const name = `${target.name}-${createHash("sha256").update(crash.input).digest("hex").slice(0, 12)}`
      mkdirSync(REGRESSIONS, { recursive: true })
      writeFileSync(join(REGRESSIONS, name), crash.input)
      console.error(`\n${target.name}: ${crash.reason}\n  kept as ${join(REGRESSIONS, name)} (seed ${seed})`)
      if (!values.keep) process.exit(1)
    }
  }
}
for (const [name, count] of counts) console.log(`${name.padEnd(20)} ${count}`)
console.log(`most memory ${Math.round(process.resourceUsage().maxRSS / 1024)} MiB`)
process.exit(seen.size > 0 ? 1 : 0)
