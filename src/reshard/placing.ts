/** Contents under a layout: which rank writes which box. Pure. */
import { type GroupToPlace, place, type RankFile, type TensorToPlace } from "../checkpoint/Placement.ts"
import { type StageOf, stagesOf } from "../checkpoint/stageOf.ts"
import type { StoredPart } from "../model/Parameter.ts"
import type { ModuleParallelism } from "../parallel/ModuleParallelism.ts"
import type { Content } from "./Contents.ts"
import type { CutRule, KeyFacts, Position } from "./keyFacts.ts"

/** The pipeline of a component: which of its ranks holds what stands at a position. */
export const pipelineOf = (parallelism: ModuleParallelism, positions: ReadonlyArray<Position>): StageOf<Position> => {
  const mtpLayers = positions.some(({ mtp }) => mtp) ? 1 : 0
  return stagesOf(parallelism, positions, { isTower: ({ tower }) => tower, mtpLayers })
}

/** The parts of a tensor that one layer, or one expert of it, has. */
const partsOf = (key: string, shape: ReadonlyArray<number>, at: ReadonlyArray<number>, own: ReadonlyArray<number>, { halves }: CutRule): ReadonlyArray<StoredPart> => {
  const rows = own.slice(1).map(() => 0)
  if (!halves) return [{ key, shape, at: [...at, ...own.map(() => 0)] }]
  const half = own[0]! / 2
  return [0, half].map((start) => ({ key, shape, at: [...at, start, ...rows], rows: [start, start + half] as const }))
}

/** Layer by layer, expert by expert. */
function* tensorsToPlace(content: Content, facts: KeyFacts, stageOf: StageOf<Position>): Generator<TensorToPlace<Content>> {
  const { key, model, shape } = content
  const rule = facts.ruleOf(model)
  const lead = (rule.layers === undefined ? 0 : 1) + (rule.experts === undefined ? 0 : 1)
  const own = shape.slice(lead)
  for (let layer = 0; layer < (rule.layers ?? 1); layer++) {
    const stage = stageOf(facts.positionOf(model, layer))
    for (let e = 0; e < (rule.experts ?? 1); e++) {
      const at = [...(rule.layers === undefined ? [] : [layer]), ...(rule.experts === undefined ? [] : [e])]
      const expert = rule.experts === undefined ? rule.expert : { index: e, of: rule.experts }
      yield {
        tensor: {
          name: key,
          shape: own,
          parts: partsOf(key, shape, at, own, rule),
          ...(rule.axis === undefined ? {} : { splitAxis: rule.axis }),
          ...(expert ? { expert } : {}),
          ...(rule.uneven ? { uneven: true } : {})
        },
        stage,
        beside: content.beside ?? false,
        of: content
      }
    }
  }
}

/** Which file every box of `contents` goes to. UsageError `usage/layout` for a layout that the model does not fit. */
export const placed = (
  contents: ReadonlyArray<Content>,
  facts: KeyFacts,
  layouts: ReadonlyMap<string, { readonly parallelism: ModuleParallelism; readonly stageOf: StageOf<Position> }>
): ReadonlyArray<RankFile<Content>> => {
  const groups = [...Map.groupBy(contents, ({ component }) => component)].map(([name, own]): GroupToPlace<Content> => {
    const { parallelism, stageOf } = layouts.get(name)!
    return { keyPrefix: "", parallelism, states: [], tensors: own.flatMap((content) => [...tensorsToPlace(content, facts, stageOf)]) }
  })
  return place(groups)
}
