/** What the reference system wrote of adapters, and exported of them: names, shapes, values. */
import { createHash } from "node:crypto"
import { Effect } from "effect"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { exportAdapter, prepareAdapterExport } from "../../src/api/adapters.ts"
import { Disk } from "../../src/io/Disk.ts"
import { parseHeader } from "./header.ts"

const FACTS = new URL("../fixtures/adapters/", import.meta.url).pathname
const work = mkdtempSync(join(tmpdir(), "adapters-"))
afterAll(() => rmSync(work, { recursive: true }))

const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provide(effect, Disk.layer))

interface Facts {
  readonly alpha: number
  readonly peft?: Readonly<Record<string, { readonly shape: ReadonlyArray<number>; readonly sha256: string }>>
}

const BASE = join(FACTS, "bridge-lora-tp1/base-hf")
const factsOf = (name: string): Facts => JSON.parse(readFileSync(join(FACTS, name, "facts.json"), "utf8")) as Facts

describe.each(readdirSync(FACTS).filter((name) => name.startsWith("bridge-")))("%s", (name) => {
  const { alpha, peft } = factsOf(name)
  const checkpoint = join(FACTS, name, "checkpoint/iter_0000001")

  it.runIf(peft)("is exported as the reference exports it", async () => {
    const out = join(work, name)
    await run(exportAdapter(BASE, checkpoint, out, { alpha }))
    const tensors = parseHeader(readFileSync(join(out, "adapter_model.safetensors")))
    expect(Object.fromEntries(tensors.map((t) => [t.name, [[...t.shape], createHash("sha256").update(t.bytes).digest("hex")]])))
      .toEqual(Object.fromEntries(Object.entries(peft!).map(([key, { sha256, shape }]) => [key, [shape, sha256]])))
    const written = (directory: string): object => ({ ...JSON.parse(readFileSync(join(directory, "adapter_config.json"), "utf8")) as object, base_model_name_or_path: "" })
    expect(written(out)).toEqual(written(join(FACTS, name, "peft")))
  })

  it("is not exported while nothing says its alpha", async () => {
    const error = await run(Effect.flip(prepareAdapterExport(BASE, checkpoint)))
    expect(error.code).toBe("usage/alpha")
  })
})

it("rows that two ranks stored in an order of theirs are put right", async () => {
  const out = join(work, "two-ranks")
  await run(exportAdapter(BASE, join(FACTS, "bridge-canonical-tp2/checkpoint/iter_0000001"), out, { alpha: 6 }))
  // Every row of each linear_out holds its own number.
  for (const { bytes, name, shape } of parseHeader(readFileSync(join(out, "adapter_model.safetensors"))).filter(({ name }) => name.endsWith("lora_B.weight"))) {
    const rows = Array.from({ length: shape[0]! }, (_, row) => new DataView(Uint8Array.of(0, 0, ...bytes.subarray(row * shape[1]! * 2, row * shape[1]! * 2 + 2)).buffer).getFloat32(0, true))
    expect(rows, name).toEqual(rows.map((_, row) => row))
  }
})
