/** What the engine is meant to reach, held against what was measured. */
import { type Measured, median } from "./measure.ts"
import { STEPS } from "./steps.ts"

/** Runs by model and step. */
export type Results = Readonly<Record<string, Readonly<Record<string, ReadonlyArray<Measured>>>>>

export interface Start {
  /** Seconds. */
  readonly version: number
  readonly planThousand: number
  readonly planMany: Pick<Measured, "wall" | "rss">
}

export interface Target {
  readonly what: string
  readonly atMost: number
  readonly measured: number
  readonly unit: "" | " s" | " ms" | " MB"
}

const DENSE = "qwen3.5-vl"

export const targetsOf = (results: Results, start: Start): ReadonlyArray<Target> => {
  const med = (model: string, step: string, field: keyof Measured) => median((results[model]?.[step] ?? []).map((m) => m[field]))
  const wall = (model: string, step: string, over: string) => med(model, step, "wall") / med(model, over, "wall")
  const ratio = (what: string, atMost: number, model: string, step: string, over: string): ReadonlyArray<Target> =>
    results[model]?.[step] && results[model][over] ? [{ what, atMost, measured: wall(model, step, over), unit: "" }] : []
  const rss = Math.max(...Object.values(results).flatMap((steps) => Object.values(steps).flatMap((runs) => runs.map((m) => m.rss))))
  const dense = results[DENSE] !== undefined
  return [
    ...ratio("import, dense, cold / `dd` direct", 1.15, DENSE, STEPS.importCold, STEPS.dd),
    ...ratio("import, dense, cold / `cp && sync`", 0.7, DENSE, STEPS.importCold, STEPS.cpCold),
    ...ratio("import, dense, warm / `cp && sync`, cold", 0.5, DENSE, STEPS.importWarm, STEPS.cpCold),
    ...ratio("import, dense, `--io buffered` / `cp && sync`", 1.2, DENSE, STEPS.importBuffered, STEPS.cpCold),
    ...ratio("export, dense, cold / `dd` direct", 1.15, DENSE, STEPS.exportCold, STEPS.dd),
    ...ratio("export, dense, cold / `cp && sync`", 0.7, DENSE, STEPS.exportCold, STEPS.cpCold),
    ...ratio("import, per-expert MoE / `dd` direct of the output", 1.2, "qwen3-moe", STEPS.importCold, STEPS.ddOutput),
    ...ratio("import, packed and transposed MoE / `dd` direct of the output", 1.3, "qwen3-vl-moe", STEPS.importCold, STEPS.ddOutput),
    ...ratio("import, FP8 to BF16 / `dd` direct of the output", 1.3, "deepseek-v3-fp8", STEPS.importCold, STEPS.ddOutput),
    ...ratio("import, dense / Python safetensors load + DCP save", 0.3, DENSE, STEPS.importCold, STEPS.peerDcpSave),
    ...ratio("verify, dense / `cat` of both sides", 1, DENSE, STEPS.verify, STEPS.cat),
    ...(dense
      ? [{ what: "CPU seconds, import, dense / buffered `dd` in cache", atMost: 1.7, measured: med(DENSE, STEPS.importCold, "cpu") / med(DENSE, STEPS.ddCached, "cpu"), unit: "" as const }]
      : []),
    { what: "peak memory of any step", atMost: 200, measured: rss / 1e6, unit: " MB" },
    { what: "`--version`, cold process", atMost: 120, measured: start.version * 1000, unit: " ms" },
    { what: "plan of 1 000 tensors", atMost: 300, measured: start.planThousand * 1000, unit: " ms" },
    { what: "plan of 100 000 tensors", atMost: 3, measured: start.planMany.wall, unit: " s" },
    { what: "its memory", atMost: 400, measured: start.planMany.rss / 1e6, unit: " MB" }
  ]
}
