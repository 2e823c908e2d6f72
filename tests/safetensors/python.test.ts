/** Files written by the Python libraries (fixtures/safetensors/make.py) against what is written here. */
import { layer } from "@effect/vitest"
import { Effect } from "effect"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect } from "vitest"
import { Disk } from "../../src/io/Disk.ts"
import { readSafetensors } from "../../src/safetensors/Reader.ts"
import { openSafetensors } from "../../src/safetensors/SafetensorsDirectory.ts"
import { encodeIndex } from "../../src/safetensors/ShardIndex.ts"
import { writeSafetensors } from "../../src/safetensors/Writer.ts"

const fixtures = join(import.meta.dirname, "../fixtures/safetensors")
const root = mkdtempSync(join(tmpdir(), "safetensors-"))
afterAll(() => rmSync(root, { recursive: true }))

layer(Disk.layer)("the Python library", (it) => {
  it.effect.each([
    "every-dtype.safetensors",
    "names.safetensors",
    "shapes.safetensors",
    "transformers/model-00001-of-00002.safetensors",
    "hub/model-00001-of-00002.safetensors"
  ])("writes the same bytes: %s", (name) =>
    Effect.gen(function*() {
      const { metadata, tensors } = yield* readSafetensors(join(fixtures, name))
      const shuffled = [...tensors.values()].sort((a, b) => a.name.length - b.name.length || (a.name < b.name ? 1 : -1))
      const copy = join(root, "copy.safetensors")
      yield* writeSafetensors(copy, shuffled, metadata)
      expect(readFileSync(copy).equals(readFileSync(join(fixtures, name)))).toBe(true)
    }))

  it.effect("names tensors as they were named", () =>
    Effect.gen(function*() {
      const { tensors } = yield* readSafetensors(join(fixtures, "names.safetensors"))
      const names = ["z", "a", "", "ü", "\u{1f600}", "\uff5e", "tab\tquote\"back\\slash/", "\0\u0001\u001f\u007f\u2028", "__proto__", "10", "9"]
      expect(names.map((name) => [...tensors.get(name)?.data ?? []])).toEqual(names.map((_, i) => [i]))
    }))

  it.effect("writes scalars and empty tensors", () =>
    Effect.gen(function*() {
      const { metadata, tensors } = yield* readSafetensors(join(fixtures, "shapes.safetensors"))
      expect(metadata).toEqual(new Map())
      expect(tensors.get("scalar")).toMatchObject({ dtype: "F32", shape: [], data: Uint8Array.of(0, 0, 0xc0, 0x3f) })
      expect(tensors.get("empty")).toMatchObject({ dtype: "F64", shape: [0, 4], data: new Uint8Array(0) })
      expect(tensors.get("matrix")).toMatchObject({ dtype: "I16", shape: [2, 3], data: Uint8Array.of(0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0) })
    }))

  it.effect.each([["transformers", 12], ["huggingface_hub", 2]] as const)("%s writes the same index", ([style, count]) =>
    Effect.gen(function*() {
      const hf = yield* openSafetensors(join(fixtures, style === "transformers" ? style : "hub"))
      expect(hf.tensors.size).toBe(count)
      expect(hf.warnings).toEqual([])
      expect(Buffer.from(encodeIndex(hf.index!, style)).equals(hf.indexBytes!)).toBe(true)
    }))
})
