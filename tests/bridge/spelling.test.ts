/** Two writers' names for the same tensors. */
import { describe, expect, it } from "vitest"
import { direct } from "../../src/bridge/kinds.ts"
import { MappingRegistry, rows } from "../../src/bridge/Registry.ts"
import { type Renaming, spellingOf } from "../../src/bridge/Spelling.ts"

const RENAMINGS: ReadonlyArray<Renaming> = [
  ["^model.layers.", "^model.language_model.layers."],
  ["^tower.blocks.*.attn.", "^tower.blocks.*.self_attn."],
  [".router.", ".gate."]
]

describe("spelling", () => {
  it("is told by the names that a checkpoint has", () => {
    expect(spellingOf(["model.layers.0.router.weight", "lm_head.weight"], RENAMINGS)).toBeUndefined()
    const s = spellingOf(["model.language_model.layers.0.gate.weight", "tower.blocks.7.self_attn.q.weight"], RENAMINGS)!
    expect(s.stored("model.layers.12.router.weight")).toBe("model.language_model.layers.12.gate.weight")
    expect(s.published("model.language_model.layers.12.gate.weight")).toBe("model.layers.12.router.weight")
    expect(s.stored("tower.blocks.7.attn.q.weight")).toBe("tower.blocks.7.self_attn.q.weight")
  })

  it("keeps the wildcards of a pattern", () => {
    const s = spellingOf(["tower.blocks.7.self_attn.q.weight"], RENAMINGS)!
    expect(s.stored("tower.blocks.*.attn.**")).toBe("tower.blocks.*.self_attn.**")
  })

  it("uses each renaming alone: one part may be renamed and another not", () => {
    const s = spellingOf(["model.layers.0.gate.weight"], RENAMINGS)!
    expect(s.stored("model.layers.0.router.weight")).toBe("model.layers.0.gate.weight")
  })

  it("leaves a part alone that stands under both names, so that the accounting names what is wrong", () => {
    expect(spellingOf(["a.router.weight", "b.gate.weight"], RENAMINGS)).toBeUndefined()
  })

  it("allows a published part inside the other one", () => {
    const s = spellingOf(["language_model.model.model.norm"], [["^language_model.model.", "^language_model.model.model."]])!
    expect(s.stored("language_model.model.norm")).toBe("language_model.model.model.norm")
  })

  it("gives rows the stored names, also those that `**` stands for", () => {
    const spelling = spellingOf(["tower.blocks.0.self_attn.q.weight"], RENAMINGS)!
    const registry = new MappingRegistry(rows("", "", { "tower.**": { hf: ["tower.**"], kind: direct } }).map((row) => ({ ...row, spelling })))
    expect(registry.lookup("tower.blocks.3.attn.q.weight")!.names).toEqual(["tower.blocks.3.self_attn.q.weight"])
    expect(registry.claimants("tower.blocks.3.self_attn.q.weight")).toHaveLength(1)
  })
})
