/** Merges of whole models: from either world the same bits; what no adapter changes stays as it is. */
import { Effect } from "effect"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { mergeAdapters } from "../../src/api/adapters.ts"
import { AutoBridge } from "../../src/index.ts"
import type { Disk } from "../../src/io/Disk.ts"
import { quickDisk } from "../hostile/run.ts"
import { parseHeader } from "./header.ts"

const FACTS = new URL("../fixtures/adapters/", import.meta.url).pathname
const [BASE, PEFT, CHECKPOINT] = ["base-hf", "peft", "checkpoint/iter_0000001"].map((p) => join(FACTS, "bridge-lora-tp1", p)) as [string, string, string]
const work = mkdtempSync(join(tmpdir(), "merge-"))
afterAll(() => rmSync(work, { recursive: true }))

const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provide(effect, quickDisk))
const weights = (directory: string): Buffer => readFileSync(join(directory, "model.safetensors"))

it("a directory of peft and a Megatron checkpoint of the same adapters, on either form of the base, give the same file", async () => {
  const [plain, megatron, other] = ["plain", "megatron", "other"].map((d) => join(work, d)) as [string, string, string]
  const report = await run(mergeAdapters(BASE, plain, { adapters: [{ path: PEFT, weight: 1 }] }))
  expect(report).toMatchObject({ changed: 14, copied: 7, order: "bridge" })
  await run(Effect.flatMap(AutoBridge.fromHfPretrained(BASE, { tp: 2 }), (bridge) => bridge.importCheckpoint(megatron)))
  await run(mergeAdapters(BASE, other, { adapters: [{ path: CHECKPOINT, weight: 1, alpha: 6 }], pretrained: megatron }))
  expect(weights(other).equals(weights(plain))).toBe(true)
  const before = new Map(parseHeader(weights(BASE)).map((t) => [t.name, t.bytes]))
  const same = parseHeader(weights(plain)).filter((t) => Buffer.compare(t.bytes, before.get(t.name)!) === 0).map((t) => t.name)
  expect(same).toHaveLength(7)
  expect(same).toContain("lm_head.weight")
})

it("an adapter of weight 0 changes nothing; half of it twice, rounded once, is all of it", async () => {
  const [none, whole, halves] = ["none", "whole", "halves"].map((d) => join(work, d)) as [string, string, string]
  await run(mergeAdapters(BASE, none, { adapters: [{ path: PEFT, weight: 0 }] }))
  expect(weights(none).equals(weights(BASE))).toBe(true)
  await run(mergeAdapters(BASE, whole, { adapters: [{ path: PEFT, weight: 1 }], order: "precise" }))
  await run(mergeAdapters(BASE, halves, { adapters: [{ path: PEFT, weight: 0.5 }, { path: PEFT, weight: 0.5 }], order: "precise" }))
  expect(weights(halves).byteLength).toBe(weights(whole).byteLength)
  const [a, b] = [parseHeader(weights(whole)), parseHeader(weights(halves))]
  // W + x/2 + x/2 may round otherwise than W + x in F32, which BF16 seldom sees.
  const differing = a.reduce((n, t, i) => n + t.bytes.reduce((m, byte, k) => m + (byte === b[i]!.bytes[k] ? 0 : 1), 0), 0)
  expect(differing).toBeLessThan(20)
})

it("modules that the base does not have are named", async () => {
  const odd = join(work, "odd")
  cpSync(PEFT, odd, { recursive: true })
  const file = readFileSync(join(odd, "adapter_model.safetensors"))
  const text = file.toString("latin1").replaceAll("layers.1.self_attn.o_proj", "layers.1.self_attn.x_proj")
  writeFileSync(join(odd, "adapter_model.safetensors"), Buffer.from(text, "latin1"))
  const error = await run(Effect.flip(mergeAdapters(BASE, join(work, "never"), { adapters: [{ path: odd, weight: 1 }] })))
  expect(error.code).toBe("adapter/module")
  expect(error.message).toContain("layers.1.self_attn.x_proj")
})
