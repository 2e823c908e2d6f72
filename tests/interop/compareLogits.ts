/**
 * The forward check against transformers: `compareLogits.ts WORK`, where `WORK/NAME` is a toy (tests/forward/toys.ts) with the logits that
 * forwardLogits.py wrote. With `--update` the last of them go into tests/forward/logits.json, which the tests without Python hold.
 */
import { readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { distance, hfLogits } from "../forward/runToy.ts"
import { KEPT, TOKENS } from "../forward/toys.ts"
import { numbersIn } from "./npy.ts"

/** Of the logits' scale. Sums of 32-bit floats in another order differ by less than 1e-5 of it in these toys. */
const MOST = 1e-3

const [, , work, update] = process.argv as [string, string, string, string | undefined]
const kept: Record<string, string> = {}
const failed: Array<string> = []
let most = 0
for (const name of readdirSync(work).sort()) {
  const theirs = numbersIn(join(work, name, "logits.npy"))
  const found = distance(await hfLogits(join(work, name), TOKENS), theirs)
  most = Math.max(most, found)
  if (!(found <= MOST)) failed.push(`${name}: ${found.toExponential(1)}`)
  kept[name] = Buffer.from(theirs.slice(-KEPT * (theirs.length / TOKENS.length)).buffer).toString("base64")
}
if (update === "--update") writeFileSync(new URL("../forward/logits.json", import.meta.url), `${JSON.stringify(kept, null, 1)}\n`)
if (failed.length > 0) {
  console.error(`FAILED logits of transformers, by their scale: ${failed.join(", ")}`)
  process.exitCode = 1
} else console.log(`interop: logits of ${Object.keys(kept).length} toys, ${most.toExponential(1)} of their scale at most`)
