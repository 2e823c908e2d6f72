/**
 * `npm run fuzz -- [--minutes N] [--seed N] [--target NAME] [--keep] [--replay FILE]`: every parser, and what is made of its
 * results, with inputs that are nearly right. A crash is kept in regressions/, which the tests replay; the first one ends the
 * run, unless --keep.
 */
import { spawnSync } from "node:child_process"
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Random } from "./Random.ts"
import { keep } from "./Regressions.ts"
import { type Crash, type Target, tryOne } from "./Target.ts"
import { targets as all } from "./targets.ts"

/** Bytes. Garbage of earlier inputs raises the peak, too; what raises it by so much is read once more in a process of its own. */
const SUSPICIOUS = 64 << 20

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "1" }, seed: { type: "string" }, target: { type: "string" }, replay: { type: "string" }, keep: { type: "boolean", default: false } }
})

const targets = values.target === undefined ? all : all.filter((t) => t.name === values.target)
if (targets.length === 0) {
  console.error(`no target ${values.target}; there are ${all.map((t) => t.name).join(", ")}`)
  process.exit(2)
}

if (values.replay !== undefined) {
  const { crash, raised } = await tryOne(targets[0]!, readFileSync(values.replay))
  console.log(`${crash ? crash.reason : "survived"}; took up to ${Math.round(raised / 2 ** 20)} MiB`)
  process.exit(crash ? 1 : 0)
}

/** Does it crash a process that has read nothing else? Then that is no garbage. */
const alone = ({ name }: Target, input: Uint8Array): Crash | undefined => {
  const file = join(tmpdir(), `fuzz-${process.pid}`)
  writeFileSync(file, input)
  const { status, stderr, stdout } = spawnSync(process.execPath, [new URL(import.meta.url).pathname, "--target", name, "--replay", file], { encoding: "utf8" })
  rmSync(file)
  return status === 0 ? undefined : { target: name, input, reason: stdout.trim() || stderr }
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
      const input = target.make(random)
      const { crash: found, raised } = await tryOne(target, input)
      const crash = raised > SUSPICIOUS ? alone(target, input) : found
      if (!crash) continue
      const what = crash.reason.split("\n").slice(0, 2).join(" ").replaceAll(/\d+/g, "#")
      if (seen.has(target.name + what)) continue
      seen.add(target.name + what)
      console.error(`\n${target.name}: ${crash.reason}\n  kept as ${keep(target.name, input)} (seed ${seed})`)
      if (!values.keep) process.exit(1)
    }
  }
}
for (const [name, count] of counts) console.log(`${name.padEnd(20)} ${count}`)
console.log(`most memory ${Math.round(process.resourceUsage().maxRSS / 1024)} MiB`)
process.exit(seen.size > 0 ? 1 : 0)
