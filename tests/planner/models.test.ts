/** Every test model, in every form, has operations, memory and a layout. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { audio, EMPTY, together } from "../../src/cost/Workload.ts"
import { modelFlops } from "../../src/cost/flops.ts"
import { modelProfile } from "../../src/cost/profile.ts"
import { GPUS } from "../../src/planner/gpus.ts"
import { planLayouts } from "../../src/planner/plan.ts"
import { parseImages, sampleMix } from "../../src/planner/samples.ts"
import { toys } from "../families/toys.ts"

const cluster = { gpu: GPUS["h100"]!, nodes: 1, gpusPerNode: 2, exclusive: true, launcher: "srun" } as const

describe("every test model", () => {
  it("can be planned", () => {
    for (const toy of toys) {
      const tensors = new Map(toy.tensors.map((t) => [t.name, t]))
      const family = families.find(toy.config)
      const description = family.describe(family.schema.parse(toy.config), { names: [...tensors.keys()], tensor: (name) => tensors.get(name) })
      const vision = description.modules.find((m) => m.kind === "vision")
      // A projector alone works on what some encoder hands on.
      const projects = description.modules.every((m) => m.kind === "projector")
      const rule = vision?.kind === "vision" ? { patch: vision.sizes.patch.height, merge: vision.sizes.merge } : projects ? { patch: 16, merge: 2 } : undefined
      const seen = sampleMix(256, rule ? [parseImages("1*64x64")] : [], rule)
      const heard = description.modules.some((m) => m.kind === "audio") ? audio([64]) : EMPTY
      const mix = { ...seen, mean: together(seen.mean, heard), largest: together(seen.largest, heard) }
      for (const form of description.components.length === 2 ? ["standard", "mimo"] as const : ["standard"] as const) {
        const { forward, rows } = modelFlops(description, mix.mean, { form })
        expect([toy.name, forward > 0 && Number.isFinite(forward)]).toEqual([toy.name, true])
        if (vision) expect([toy.name, rows.some((r) => ["patch embedding", "tower", "merger"].includes(r.part))]).toEqual([toy.name, true])
        const { best } = planLayouts(modelProfile(description, form), { cluster, mix, globalBatch: 2, efficiency: { language: 0.3, tower: 0.3 } })
        expect([toy.name, form, best.length > 0, (best[0]?.step.seconds ?? 0) > 0]).toEqual([toy.name, form, true, true])
      }
    }
  })
})
