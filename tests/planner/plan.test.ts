/** Scores of layouts: the worked example, what a search finds and why it refuses the rest. */
import { describe, expect, it } from "vitest"
import { modelProfile } from "../../src/cost/profile.ts"
import { resolveLayout } from "../../src/parallel/Layout.ts"
import { parseComponent } from "../../src/parallel/ModuleParallelism.ts"
import { calibrated, computeSeconds, estimateStep, meanOfLarger, pipelineSeconds, roomFor } from "../../src/planner/estimate.ts"
import { GPUS } from "../../src/planner/gpus.ts"
import { judge, planLayouts, type PlanRequest, spell } from "../../src/planner/plan.ts"
import { gridOf, parseImages, sampleMix } from "../../src/planner/samples.ts"
import { timeline } from "../../src/planner/timeline.ts"
import { published } from "../cost/published.ts"

describe("the worked example: text of F5 on 16 ranks in two stages, images of V1 on one, two samples a microbatch", () => {
  const [peak, efficiency] = [989.4e12, 0.4]
  const language = computeSeconds(2 * 643339930042368, 16, peak, efficiency)
  const images = computeSeconds(2 * 7818914562048, 1, peak, efficiency)
  const path = [images, language, language]

  it("to six digits", () => {
    expect(language).toBeCloseTo(0.203198, 6)
    expect(images).toBeCloseTo(0.039513, 6)
    expect(pipelineSeconds(path, 16)).toBeCloseTo(3.493873, 6)
    expect(roomFor(images, language)).toBeCloseTo(5.14, 2)
  })
})

const rule = { patch: 16, merge: 2 }
const mix = sampleMix(4096, [parseImages("1*768x768")], rule)
const request = (nodes: number, change: Partial<PlanRequest> = {}, gpu: keyof typeof GPUS = "h100"): PlanRequest => ({
  cluster: { gpu: GPUS[gpu]!, nodes, gpusPerNode: 8, exclusive: true, launcher: "srun" }, mix, globalBatch: 32, efficiency: { language: 0.4, tower: 0.4 }, ...change
})
const description = published("Qwen3.5-27B")
const mimo = modelProfile(description, "mimo")
const layout = (...specs: ReadonlyArray<string>) => resolveLayout(specs.map(parseComponent), ["language", "images"])
const REF = layout("language=tp=4,pp=2,dp=2", "images=tp=1,dp=1")

describe("an estimate", () => {
  const settings = { globalBatch: 32, microBatch: 2, mix, recompute: "none", sequenceParallel: false, gpu: GPUS["h100"]!, gpusPerNode: 8, efficiency: { language: 0.4, tower: 0.4 } } as const
  const step = estimateStep(mimo, REF, settings)

  it("is the worked example's, with the logits where they are and the embedding of patches", () => {
    const compute = step.stages.map((s) => s.compute)
    const logits = (2 * 6 * 4096 * 248320 * 5120) / 8 / (0.4 * 989.4e12)
    const layers = (2 * 643339930042368 / 16) / (0.4 * 989.4e12) - logits / 2
    expect(step.stages.map((s) => [s.component, s.stage])).toEqual([["language", 0], ["language", 1], ["images", 0]])
    expect(compute[0]).toBeCloseTo(layers, 9)
    expect(compute[1]).toBeCloseTo(layers + logits, 9)
    expect(compute[2]).toBeCloseTo((2 * 7843375742976) / (0.4 * 989.4e12), 9)
    expect(step.microBatches).toBe(16)
  })

  it("adds what is not computation", () => {
    expect(step.stages[0]!.tensorParallel).toBeCloseTo((16 * 0.75 * 4096 * 5120 * 32) / 450e9, 9)
    expect(step.gradients).toBeGreaterThan(0)
    expect(step.seconds).toBeGreaterThan(pipelineSeconds(step.stages.map((s) => s.total), 16))
  })

  it("is what was measured once it is calibrated", () => {
    const efficiency = calibrated(mimo, REF, settings, 5)
    expect(estimateStep(mimo, REF, { ...settings, efficiency }).seconds).toBeCloseTo(5, 3)
    expect(efficiency.language).toBeLessThan(0.4)
    expect(calibrated(mimo, REF, settings, 1e-9)).toEqual(settings.efficiency)
  })

  it("recomputing everything costs a forward pass", () => {
    const again = estimateStep(mimo, REF, { ...settings, recompute: "full" }).stages
    expect(again[0]!.compute / step.stages[0]!.compute).toBeCloseTo(4 / 3, 9)
    expect(again[2]!.compute).toBe(step.stages[2]!.compute)
  })

  it("samples that differ cost more than their mean", () => {
    expect(meanOfLarger(1, 0.5, 0)).toBe(1)
    expect(meanOfLarger(1, 1, 0.2)).toBeCloseTo(1 + 0.2 / Math.sqrt(2 * Math.PI), 6)
    expect(meanOfLarger(1, 1, 0.2, 4)).toBeGreaterThan(meanOfLarger(1, 1, 0.2))
    const varied = sampleMix(4096, [parseImages("0.5:none"), parseImages("0.5:2*1536x1536")], rule)
    const same = { ...varied, deviation: 0 }
    const seconds = (m: typeof mix) => estimateStep(mimo, REF, { ...settings, mix: m }).seconds
    expect(seconds(varied)).toBeGreaterThan(seconds(same))
  })
})

describe("a search", () => {
  it("two nodes of eight: no layout of components is as good as one model under one layout", () => {
    const plan = planLayouts(mimo, request(2), modelProfile(description, "standard"))
    const [best] = plan.best
    expect(best!.layout.worldSize).toBeLessThanOrEqual(16)
    expect(plan.standard!.gpuSecondsPerToken).toBeLessThan(best!.gpuSecondsPerToken)
    expect(plan.standard!.idle).toBe(0)
    expect(best!.idle).toBe(16 - best!.layout.worldSize)
    expect(plan.refused.map((r) => r.rule)).toContain(39)
    expect(plan.best.every((b, i) => i === 0 || b.gpuSecondsPerToken > plan.best[i - 1]!.gpuSecondsPerToken * 0.99)).toBe(true)
  })

  it("scores by what is allocated: with single GPUs idle ones cost nothing", () => {
    const shared = request(3, { cluster: { ...request(3).cluster, exclusive: false } })
    const [own, whole] = [judge(mimo, REF, shared), judge(mimo, REF, request(3))].map((j) => j.scored!)
    expect([own!.allocated, whole!.allocated, whole!.idle]).toEqual([17, 24, 7])
    expect(whole!.gpuSecondsPerToken / own!.gpuSecondsPerToken).toBeCloseTo(24 / 17, 9)
  })

  it("the best fits, breaks no rule, and every change to it says what it costs or which rule refuses it", () => {
    const { best: [best], changes } = planLayouts(mimo, request(4))
    expect(best!.fullest.share).toBeLessThanOrEqual(1)
    const choice = { microBatch: best!.microBatch, recompute: best!.recompute, sequenceParallel: best!.sequenceParallel }
    expect(judge(mimo, best!.layout, request(4), choice).broken).toEqual([])
    expect(changes.length).toBeGreaterThan(8)
    expect(changes.every((c) => (c.cost === undefined) !== (c.broken === undefined))).toBe(true)
    // Nothing that was within the search is better by more than what counts as alike.
    expect(changes.filter((c) => !/ pp=/.test(c.change) && (c.cost ?? 0) < -0.02)).toEqual([])
  })

  it("experts with tensor parallelism run under sequence parallelism only", () => {
    const moe = modelProfile(published("Qwen3.5-35B-A3B"), "mimo")
    const plan = planLayouts(moe, request(2))
    expect(plan.best.length).toBeGreaterThan(0)
    for (const { layout: { components: [language] }, sequenceParallel } of plan.best) if (language!.parallelism.tp > 1) expect(sequenceParallel).toBe(true)
  })

  it("judges a given layout by the same rules", () => {
    const judged = judge(mimo, layout("language=tp=4,pp=2,dp=2", "images=tp=1,dp=1"), request(2))
    expect(judged.broken.map((b) => b.rule)).toEqual([36])
    expect(judge(mimo, layout("language=tp=4,pp=3,dp=1", "images=tp=1,dp=1"), request(4)).scored).toBeUndefined()
    expect(spell(REF)).toBe("language tp=4 pp=2 dp=2 + images tp=1")
  })
})

describe("images", () => {
  it("sides are rounded to whole tokens, and scaled between the bounds", () => {
    expect(gridOf(768, 768, rule)).toEqual({ frames: 1, height: 48, width: 48 })
    expect(gridOf(500, 333, rule)).toEqual({ frames: 1, height: 32, width: 20 })
    expect(gridOf(10, 10, rule)).toEqual({ frames: 1, height: 2, width: 2 })
    const bounded = gridOf(4000, 1000, { ...rule, mostPixels: 1024 * 1024 })
    expect(bounded.height * bounded.width * 256).toBeLessThanOrEqual(1024 * 1024)
    const raised = gridOf(100, 100, { ...rule, leastPixels: 256 * 256 })
    expect(raised.height * raised.width * 256).toBeGreaterThanOrEqual(256 * 256)
  })

  it("shares sum to one", () => {
    expect(() => sampleMix(4096, [parseImages("0.3:none"), parseImages("0.3:1*64x64")], rule)).toThrow("sum to 0.6")
    expect(sampleMix(4096, [parseImages("0.25:none"), parseImages("0.75:2*64x64")], rule).images).toEqual({ least: 0, most: 2, uniform: false, mostTokens: 8 })
  })

  it.each(["", "2", "2*64", "1.5:none", "0*64x64", "1*64x64x64", "-1*64x64", "99999*1x1"])("%s is refused", (text) => expect(() => parseImages(text)).toThrow("--images"))
})

describe("the timeline of a step", () => {
  const stages = [{ forward: 1, backward: 2 }, { forward: 2, backward: 4 }, { forward: 1, backward: 2 }]
  const events = timeline(stages, 6)

  it("runs every microbatch forwards and backwards on every stage, one at a time", () => {
    expect(events.length).toBe(2 * 3 * 6)
    for (const stage of [0, 1, 2]) {
      const own = events.filter((e) => e.stage === stage).sort((a, b) => a.start - b.start)
      expect(own.every((e, i) => i === 0 || e.start >= own[i - 1]!.end)).toBe(true)
    }
  })

  it("no stage begins before it has what it needs", () => {
    const at = (stage: number, kind: string, microBatch: number) => events.find((e) => e.stage === stage && e.kind === kind && e.microBatch === microBatch)!
    for (let m = 0; m < 6; m++) {
      for (const stage of [1, 2]) {
        expect(at(stage, "forward", m).start).toBeGreaterThanOrEqual(at(stage - 1, "forward", m).end)
        expect(at(stage - 1, "backward", m).start).toBeGreaterThanOrEqual(at(stage, "backward", m).end)
      }
    }
  })

  it("takes about as long as the formula says; exactly, where stages are alike", () => {
    const end = Math.max(...events.map((e) => e.end))
    expect(Math.abs(end / pipelineSeconds([3, 6, 3], 6) - 1)).toBeLessThan(0.1)
    const alike = timeline([1, 2, 3].map(() => ({ forward: 1, backward: 2 })), 8)
    expect(Math.max(...alike.map((e) => e.end))).toBe(pipelineSeconds([3, 3, 3], 8))
  })
})
