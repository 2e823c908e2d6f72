/**
 * `npm run bench:scale [-- --sizes 1,5,20 --repeats N --sparse 100 --dir DIR]`: the same dense model with ever more layers (sizes in GB),
 * imported cold and moved by `dd`, in shuffled rounds: wall seconds, CPU seconds and peak memory per size. The last one's source is
 * holes, and what is written is given back to the disk as it grows, so that 100 GB fit anywhere; import, verify and export of it
 * tell memory, not speed.
 */
import { execFileSync, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import type { Sample } from "../../routes/samples/Sample.ts"
import { sampleTensors, writeSample } from "../../src/conformance/Sample.ts"
import { Disk } from "../../src/io/Disk.ts"
import { tensorBytes } from "../../src/safetensors/Tensor.ts"
import { writeHoles } from "./holes.ts"
import { bytesBelow, type Measured, measureOwn, median, shuffled } from "./measure.ts"
import { STEPS, stepsOf } from "./steps.ts"

const root = new URL("../..", import.meta.url).pathname
const { values } = parseArgs({
  options: {
    sizes: { type: "string", default: "1,5,20" },
    repeats: { type: "string", default: "3" },
    sparse: { type: "string" },
    dir: { type: "string" }
  }
})
const bin = join(root, "dist/bin.js")
execFileSync(process.execPath, [join(root, "scripts/build.ts")], { stdio: "inherit" })
const work = values.dir ?? mkdtempSync(join(tmpdir(), "bench-scale-"))
const [hf, megatron, out] = ["hf", "megatron", "out/it"].map((name) => join(work, name)) as [string, string, string]
const clear = (...directories: ReadonlyArray<string>) => directories.forEach((it) => rmSync(it, { recursive: true, force: true }))

/** A sample with as many layers as make it about `gigabytes` large. */
const ofSize = (base: Sample, gigabytes: number): Sample => {
  const text = base.config["text_config"] as { readonly layer_types: ReadonlyArray<string> }
  const withLayers = (layers: number): Sample => ({
    ...base,
    shardBytes: Math.min(4e9, (gigabytes * 1e9) / 2),
    config: { ...base.config, text_config: { ...text, num_hidden_layers: layers, layer_types: Array.from({ length: layers }, (_, i) => text.layer_types[i % 4]) } }
  })
  const bytes = (layers: number) => sampleTensors(families, withLayers(layers)).reduce((sum, t) => sum + tensorBytes(t), 0)
  const perLayer = (bytes(8) - bytes(4)) / 4
  return withLayers(Math.max(4, Math.round((gigabytes * 1e9 - bytes(4)) / perLayer) + 4))
}

const dense = samples["qwen3.5-vl"]!
const row = (cells: ReadonlyArray<string | number>) => console.log(`| ${cells.map((c) => (typeof c === "number" ? c.toFixed(2) : c)).join(" | ")} |`)

console.log("| GB | import, wall s | per GB | `dd` direct, s | import / `dd` | CPU s per GB | peak MB |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
for (const size of values.sizes.split(",").filter(Boolean).map(Number)) {
  clear(hf, megatron, out)
  mkdirSync(work, { recursive: true })
  await Effect.runPromise(writeSample(families, ofSize(dense["1GB"], size), hf, { overwrite: true }).pipe(Effect.provide(Disk.layer)))
  const gigabytes = bytesBelow(hf) / 1e9
  const steps = stepsOf({ bin, hf, megatron, out }).filter(({ name }) => name === STEPS.importCold || name === STEPS.dd)
  const runs = new Map<string, Array<Measured>>(steps.map(({ name }) => [name, []]))
  for (let round = 0; round < Number(values.repeats); round++) {
    for (const step of shuffled(steps)) {
      step.prepare()
      runs.get(step.name)!.push(step.run())
      clear(out)
    }
  }
  const med = (name: string, field: keyof Measured) => median(runs.get(name)!.map((m) => m[field]))
  const [wall, dd] = [med(STEPS.importCold, "wall"), med(STEPS.dd, "wall")]
  row([gigabytes, wall, wall / gigabytes, dd, wall / dd, med(STEPS.importCold, "cpu") / gigabytes, (med(STEPS.importCold, "rss") / 1e6).toFixed(0)])
}

if (values.sparse !== undefined) {
  clear(hf, megatron, out)
  writeHoles(hf, ofSize(dense["10GB"], Number(values.sparse)))
  console.log(`\n| ${(bytesBelow(hf) / 1e9).toFixed(1)} GB of holes | wall s | CPU s | peak MB | on disk, GB |\n| --- | ---: | ---: | ---: | ---: |`)
  // Runs of zeros become holes again, so what the files say stays the same; well behind where they are written, for reading ahead in
  // the page cache what is about to be written past it could bring back old zeros.
  const dig = 's=$(($(stat -c %s "$1") - (1 << 29))); [ "$s" -gt 0 ] && fallocate --dig-holes --length "$s" "$1"'
  const digger = spawn("bash", ["-c", `while sleep 0.5; do find '${work}' -type f -size +600M ! -path '${hf}/*' -exec bash -c '${dig}' dig {} \\; ; done`], { stdio: "ignore", detached: true })
  try {
    for (const [name, ...args] of [
      ["import", "import", "--hf-model", hf, "--megatron-path", megatron],
      ["verify", "verify", "--hf-model", hf, "--megatron-path", megatron],
      ["export", "export", "--hf-model", hf, "--megatron-path", megatron, "--hf-path", out]
    ] as const) {
      const { cpu, rss, wall } = measureOwn(bin, [...args, "--quiet"])
      const onDisk = execFileSync("du", ["-sB1", work], { encoding: "utf8" })
      row([name, wall, cpu, (rss / 1e6).toFixed(0), Number(onDisk.split("\t")[0]) / 1e9])
    }
  } finally {
    process.kill(-digger.pid!)
  }
}
clear(hf, megatron, join(work, "out"))
