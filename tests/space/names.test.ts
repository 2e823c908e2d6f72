/** What names say. */
import { describe, expect, it } from "vitest"
import { globs } from "../../src/inspect/glob.ts"
import { componentsOf, isMtp, isQuantisation, layerOf } from "../../src/space/names.ts"
import { rankOf } from "../../src/checkpoint/names.ts"
import { groupRows, ranges, treeOf, type TreeNode } from "../../src/inspect/tree.ts"
import type { TensorRow } from "../../src/inspect/Inspection.ts"
import { cpuMs } from "../measure/cpu.ts"

describe("components", () => {
  it.each([
    [["language_model.output_layer.weight", "modality_submodules.images.encoders.x.weight"], ["language", "images"]],
    [["model.language_model.norm.weight", "model.visual.pos_embed.weight", "lm_head.weight"], ["language", "vision", "language"]],
    [["model.layers.0.mlp.up_proj.weight", "visual.blocks.0.norm1.weight"], ["language", "vision"]],
    [["model.layers.0.mlp.up_proj.weight", "lm_head.weight"], ["model", "model"]],
    [["audio_tower.layers.0.fc1.weight", "language_model.model.norm.weight"], ["audio", "language"]],
    [["decoder.layers.mlp.linear_fc1.weight", "hf_source.a"], ["model", "hf_source"]]
  ])("%j are %j", (names, components) => {
    expect(names.map(componentsOf(names))).toEqual(components)
  })

  it("what a family says goes first", () => {
    expect(componentsOf(["model.visual.x"], () => "images")("model.visual.x")).toBe("images")
  })
})

describe("layers, ranks, parts", () => {
  it.each([
    ["model.layers.12.mlp.gate_proj.weight", { stack: "model.layers", index: 12 }],
    ["decoder.layers.mlp.linear_fc1.weight", { stack: "decoder.layers" }],
    ["model.visual.blocks.3.attn.qkv.weight", { stack: "model.visual.blocks", index: 3 }],
    ["model.norm.weight", undefined]
  ])("%s is of layer %j", (name, layer) => {
    expect(layerOf(name)).toEqual(layer)
  })

  it("__3_1.distcp is the second file of rank 3", () => {
    expect(rankOf("__3_1.distcp")).toEqual({ rank: 3, number: 1 })
    expect(rankOf("model.distcp")).toBeUndefined()
  })

  it("multi-token prediction is named so, or is a layer too many", () => {
    expect(isMtp("mtp.fc.weight")).toBe(true)
    expect(isMtp("language_model.mtp.layers.0.enorm.weight")).toBe(true)
    expect(isMtp("model.layers.61.enorm.weight", 61)).toBe(true)
    expect(isMtp("model.layers.60.mlp.up_proj.weight", 61)).toBe(false)
  })

  it("scales and packed values are marks of quantisation", () => {
    expect(["a.weight_scale_inv", "a.gate_up_proj_blocks", "a.qweight"].every(isQuantisation)).toBe(true)
    expect(isQuantisation("a.weight")).toBe(false)
  })
})

describe("globs", () => {
  it.each([
    ["*.mlp.*", "decoder.layers.0.mlp.linear_fc1.weight", true],
    ["decoder.layers.?.*", "decoder.layers.12.x", false],
    ["mlp", "decoder.mlp.weight", true],
    ["*.{bias,scale}", "a.b.scale", true],
    ["a*", "ba", false],
    ["*", "", true]
  ])("%s on %s: %s", (pattern, name, matches) => {
    expect(globs([pattern])(name)).toBe(matches)
  })

  it("no pattern lets every name pass, several let what one of them matches", () => {
    expect(globs([])("x")).toBe(true)
    expect(globs(["a*", "b*"])("bc")).toBe(true)
  })

  it("cost no more than they match", () => {
    expect(cpuMs(() => expect(globs(["*a*a*a*a*a*a*a*a*b"])("a".repeat(5000))).toBe(false))).toBeLessThan(2000)
    expect(() => globs([`${"{a,b}".repeat(12)}`])).toThrow("stands for more than 256 patterns")
    expect(() => globs(["x".repeat(600)])).toThrow("too long")
  })
})

const row = (name: string, shape: ReadonlyArray<number> = [2]): TensorRow =>
  ({ name, dtype: "BF16", shape, bytes: 4, role: "model", component: "model", chunks: 1, files: ["__0_0.distcp"] })

const drawn = (nodes: ReadonlyArray<TreeNode>, depth = 0): string =>
  nodes.map((n) => `${" ".repeat(depth)}${n.label}${n.group ? ` ×${n.group.count}` : ""}\n${drawn(n.children, depth + 1)}`).join("")

describe("trees", () => {
  it("layers that are alike are drawn once, by ranges of their numbers", () => {
    expect(ranges([0, 1, 2, 4, 6, 7])).toBe("0-2,4,6,7")
    expect(groupRows([row("a.layers.0.x"), row("a.layers.1.x"), row("a.layers.2.x", [3])]).map((g) => g.segments.join("."))).toEqual(["a.layers.{0,1}.x", "a.layers.2.x"])
  })

  it("modules nest, chains of only children are one line", () => {
    expect(drawn(treeOf([row("m.layers.0.mlp.a"), row("m.layers.1.mlp.a"), row("m.layers.0.mlp.b"), row("m.layers.1.mlp.b"), row("m.norm.weight")]))).toBe(
      "m\n layers.{0,1}.mlp\n  a ×2\n  b ×2\n norm.weight ×1\n")
  })

  it("a tensor may have the name of a module, or several shapes", () => {
    expect(drawn(treeOf([row("x.w.0"), row("x.w.1", [3]), row("x.v.0")]))).toBe("x\n w\n  0 ×1\n  1 ×1\n v.0 ×1\n")
    expect(drawn(treeOf([row("a.b"), row("a.b.c")]))).toBe("a.b ×1\n c ×1\n")
  })

  it("names of a thousand segments do not nest a thousand deep", () => {
    const depth = (nodes: ReadonlyArray<TreeNode>): number => 1 + Math.max(0, ...nodes.map((n) => (n.children.length > 0 ? depth(n.children) : 0)))
    const rows = Array.from({ length: 40 }, (_, i) => row(`${Array.from({ length: 1000 }, (_x, k) => (k === i ? "y" : "x")).join(".")}`))
    expect(depth(treeOf(rows))).toBeLessThan(40)
  })
})
