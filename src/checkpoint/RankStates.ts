/**
 * The files that today's LLaVA trainers load: for each module of a model, and of each tensor-parallel rank, the state dict that the module
 * has there, as `torch.save` writes it: `<module>/tp_rank_NN/model_weights.pt`. Layers carry their numbers in the whole model: a trainer
 * gives every pipeline stage its own from the same file. Pure.
 */
import type { TargetArray, TargetFile } from "../engine/index.ts"
import { givesState } from "../model/moduleStates.ts"
import { submoduleOf } from "../model/storedKey.ts"
import { UsageError } from "../errors.ts"
import type { Box, Shape } from "../tensor/Copy.ts"
import { rankStateFolder, WEIGHTS_FILE } from "./legacy/rankFolders.ts"
import { Cutter, type GroupToPlace, type TensorToPlace } from "./Placement.ts"
import { stateFile } from "./StateFile.ts"

/** What one rank holds of a tensor: boxes of it, one after the other along the first axis. */
export interface LocalTensor<T> {
  readonly of: T
  /** Within its module, as the rank calls it. */
  readonly name: string
  readonly shape: Shape
  readonly pieces: ReadonlyArray<{ readonly box: Box; readonly at: ReadonlyArray<number> }>
  /** The key that its first rows are stored under in `torch_dist`. */
  readonly key: string
}

const refuseExperts = (prefix: string, { ep, etp, tp }: GroupToPlace<unknown>["parallelism"]): void => {
  if (ep === 1 && etp === tp) return
  throw new UsageError({
    code: "usage/layout",
    problem: `${prefix || "the model"}: files of tensor-parallel ranks hold all experts, cut as tp cuts; not ep=${ep},etp=${etp}`,
    hint: `Lay it out with ep=1,etp=${tp}; a torch_dist checkpoint has any layout.`
  })
}

const localTensor = <T>({ of, tensor }: TensorToPlace<T>, keyPrefix: string, name: string, ranks: number, rank: number, cutter: Cutter): LocalTensor<T> => {
  const cuts = tensor.parts.map((part) => cutter.cuts(tensor, part, tensor.splitAxis === undefined ? 1 : ranks, keyPrefix))
  const boxes = cuts.map((own) => own[own.length === 1 ? 0 : rank]!.box)
  let row = 0
  const pieces = boxes.map((box) => {
    const at = box.offsets.map((_, axis) => (axis === 0 ? row : 0))
    row += box.sizes[0] ?? 0
    return { box, at }
  })
  const { sizes } = boxes[0]!
  return { of, name, shape: sizes.length === 0 ? sizes : sizes.with(0, row), pieces, key: keyPrefix + tensor.parts[0]!.key }
}

/** The module that a trainer loads by itself, and the name of a parameter in it. */
const placeOf = (name: string): readonly [module: string, name: string] => {
  const module = submoduleOf(name)
  return module === undefined ? ["", name] : [module, name.slice(module.length + 1)]
}

/** What Transformer Engine's linear modules keep for FP8 has no value here, but its place. */
const stateName = (name: string): string | undefined => {
  const module = /^(.+\.linear_\w+)\.weight$/.exec(name)?.[1]
  return module !== undefined && givesState(module) === "yes" ? `${module}._extra_state` : undefined
}

/** `arrayOf`: what fills the tensor of a rank. Errors: UsageError `usage/layout`. */
export const rankStateFiles = <T>(groups: ReadonlyArray<GroupToPlace<T>>, arrayOf: (tensor: LocalTensor<T>) => TargetArray): ReadonlyArray<TargetFile> => {
  const cutter = new Cutter()
  return groups.flatMap(({ keyPrefix, parallelism, tensors }) => {
    const modules = Map.groupBy(tensors, ({ tensor }) => placeOf(keyPrefix + tensor.name)[0])
    return Array.from(modules, ([module, own]) => {
      if (own.some(({ tensor }) => tensor.expert !== undefined)) refuseExperts(module, parallelism)
      return Array.from({ length: parallelism.tp }, (_, rank) => {
        const model = new Map<string, TargetArray | undefined>()
        for (const one of own) {
          const name = placeOf(keyPrefix + one.tensor.name)[1]
          model.set(name, arrayOf(localTensor(one, keyPrefix, name, parallelism.tp, rank, cutter)))
          const state = stateName(name)
          if (state !== undefined) model.set(state, undefined)
        }
        return stateFile(`${module === "" ? "" : `${module}/`}${rankStateFolder(rank)}/${WEIGHTS_FILE}`, WEIGHTS_FILE.slice(0, -".pt".length), model)
      })
    }).flat()
  })
}
