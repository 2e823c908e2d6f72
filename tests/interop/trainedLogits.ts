/**
 * The forward check against trainers: `trainedLogits.ts CASES`. Every `CASES/<name>` with `logits.npy`, [1, tokens, vocabulary], holds a
 * checkpoint and the Hugging Face model that it is one of; the logits are Megatron-Core's own, in bf16 on a GPU, of the token ids (37 · i) mod 256.
 */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { checkForward } from "../../src/index.ts"
import { collecting } from "../forward/runToy.ts"
import { numbersIn } from "./npy.ts"

/** What bf16 leaves open, of logits around 1. */
const [MOST, MEAN] = [0.05, 0.01]
const VOCABULARY = 256

const [, , cases] = process.argv as [string, string, string]
let [checked, most] = [0, 0]
for (const name of readdirSync(cases).sort()) {
  if (!existsSync(join(cases, name, "logits.npy"))) continue
  const theirs = numbersIn(join(cases, name, "logits.npy"))
  const tokens = Array.from({ length: theirs.length / VOCABULARY }, (_, i) => (37 * i) % 256)
  const { all, onLogits } = collecting(tokens.length, VOCABULARY)
  await checkForward(join(cases, name, "checkpoint"), { hfModel: join(cases, name, "hf"), tokens, onLogits, compute: "simd" })
  const apart = all.map((value, i) => Math.abs(value - theirs[i]!))
  const [largest, mean] = [apart.reduce((a, b) => Math.max(a, b), 0), apart.reduce((a, b) => a + b, 0) / apart.length]
  if (!(largest < MOST && mean < MEAN)) {
    console.error(`FAILED ${name}: its logits are up to ${largest.toFixed(3)} (${mean.toFixed(3)} on average) from the trainer's`)
    process.exitCode = 1
  }
  checked++
  most = Math.max(most, largest)
}
console.log(`interop: logits of ${checked} trained checkpoints, ${most.toFixed(3)} from the trainer's at most`)
if (checked === 0) process.exitCode = 1
