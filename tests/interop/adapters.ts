/**
 * Adapters that `peft` saved, below a folder of cases `NAME/{hf,adapter}`: imported and exported again (`exported`), and merged (`merged`).
 * In one process, beside which nothing starts.
 */
import { Effect } from "effect"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { exportAdapter, importAdapter, mergeAdapters } from "../../src/api/adapters.ts"
import { Disk } from "../../src/io/Disk.ts"

const [work] = process.argv.slice(2) as [string]
for (const name of (await readdir(work)).sort()) {
  const [hf, adapter, megatron, exported, merged] = ["hf", "adapter", "megatron", "exported", "merged"].map((part) => join(work, name, part)) as [string, string, string, string, string]
  await Effect.runPromise(Effect.gen(function*() {
    yield* importAdapter(hf, adapter, megatron, { standard: true })
    yield* exportAdapter(hf, megatron, exported)
    yield* mergeAdapters(hf, merged, { adapters: [{ path: exported, weight: 1 }] })
  }).pipe(Effect.provide(Disk.layer)))
}
