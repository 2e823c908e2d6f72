/**
 * Fuzz targets: what is made of documents that parse. A config that passes its schema, tensors that pass their header and tables
 * that pass their checks may still contradict each other; a plan that is accepted must be one that can be executed.
 */
import { families } from "../../routes/index.ts"
import type { Checkpoint } from "../../src/space/Checkpoint.ts"
import type { CheckpointFiles } from "../../src/checkpoint/CheckpointFiles.ts"
import type { SourceTensor } from "../../src/conformance/Case.ts"
import { exportArray } from "../../src/plan/ExportDraft.ts"
import { planExport } from "../../src/plan/planExport.ts"
import type { HfSource } from "../../src/space/HfSource.ts"
import { planImport } from "../../src/plan/ImportPlan.ts"
import { parseJson } from "../../src/document/StrictJson.ts"
import { Pieces } from "../../src/engine/internal/Pieces.ts"
import type { TargetArray } from "../../src/engine/internal/Target.ts"
import { architectureOf } from "../../src/bridge/FamilyRegistry.ts"
import { resolveLayout, standardLayout } from "../../src/parallel/Layout.ts"
import { tensorBytes } from "../../src/safetensors/Tensor.ts"
import { itemsTensor } from "../../src/space/TensorSpace.ts"
import { type DType, dtypes, torchName } from "../../src/tensor/DType.ts"
import type { StoredTensor } from "../../src/torch/DcpMetadata.ts"
import { asWritten } from "../families/inMemory.ts"
import { sourceOf, type Toy, toys } from "../families/toys.ts"
import { mutateTree, print, type Tree } from "./mutate.ts"
import type { Random } from "./Random.ts"
import type { Target } from "./Target.ts"

/** The inputs are JSON documents that name a toy and say what to change in it. */
interface Recipe {
  readonly toy: string
  readonly config?: string
  readonly tensors?: ReadonlyArray<SourceTensor>
  readonly stored?: ReadonlyArray<readonly [string, StoredTensor]>
  readonly form?: "standard" | "mimo"
}

const byName = new Map(toys.map((toy) => [toy.name, toy]))
/** Large toys would spend the time on one input. */
const small = toys.filter((toy) => toy.tensors.length < 150)

const recipe = (input: Uint8Array): Recipe & { readonly source: HfSource } => {
  const found = JSON.parse(Buffer.from(input).toString()) as Recipe
  const toy = byName.get(found.toy)!
  const configText = found.config ?? toy.configText
  const base = sourceOf({ ...toy, configText: toy.configText }, found.tensors ?? toy.tensors)
  const bytes = Buffer.from(configText)
  const json = parseJson(bytes, { allowNonFinite: true })
  return { ...found, source: { ...base, bytes, json, architecture: architectureOf(json) } }
}

const write = (made: Recipe): Uint8Array => Buffer.from(JSON.stringify(made))

const options = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const

const importPlan = ({ form = "standard", source }: { readonly form?: "standard" | "mimo"; readonly source: HfSource }) =>
  planImport(families.find(source.json), source, {
    ...options,
    form,
    layout: (names) => (form === "mimo" ? resolveLayout([], names) : standardLayout({})),
    step: 0
  })

/** Would the engine do it? */
const executable = (array: TargetArray): void => {
  const pieces = new Pieces(array)
  if (pieces.elements > 0 && pieces.elements < 2 ** 24) pieces.within(0, pieces.elements)
}

const execute = ({ files }: CheckpointFiles): void => {
  for (const file of files) for (const segment of file.segments) if (segment.kind === "array") executable(segment.array)
}

const checkpointOf = (tensors: ReadonlyMap<string, StoredTensor>): Checkpoint => ({
  directory: "/toy",
  metadata: { tensors, objects: new Map(), className: "Metadata" },
  tensors: new Map([...tensors].map(([name, stored]) => [name, itemsTensor("/toy", name, stored)])),
  objects: () => new Map(),
  kept: new Map(),
  trainingState: [],
  form: [...tensors.keys()].some((key) => key.startsWith("modality_submodules.")) ? "mimo" : "standard",
  wrapped: false,
  localSpec: false,
  fileSizes: new Map(),
  notes: []
})

const configTree = (toy: Toy): Tree => JSON.parse(toy.configText.replaceAll(/\b(NaN|-?Infinity)\b/g, "null")) as Tree

/** Field names of all configs: one family's field is another's surprise. */
const FIELDS = [...new Set(toys.flatMap((toy) => Object.keys(toy.config)))]

const changedTensors = (tensors: ReadonlyArray<SourceTensor>, r: Random): ReadonlyArray<SourceTensor> => {
  const out = [...tensors]
  for (let times = 1 + r.few(4); times > 0; times--) {
    const at = r.below(out.length)
    const tensor = out[at]
    if (!tensor) continue
    switch (r.below(6)) {
      case 0: out.splice(at, 1); break
      case 1: out[at] = { ...tensor, dtype: r.pick(dtypes) as DType }; break
      case 2: out[at] = { ...tensor, shape: tensor.shape.map((n) => (r.chance(2) ? n : r.pick([0, 1, n + 1, n * 2, Math.floor(n / 2)]))) }; break
      case 3: out[at] = { ...tensor, shape: r.chance(2) ? [...tensor.shape, 1] : tensor.shape.slice(1) }; break
      case 4: out.push({ ...tensor, name: `${tensor.name}${r.pick(["_scale_inv", "_scale", "_blocks", "_scales", ".x", "_packed", "_shape"])}`, dtype: r.pick(["F32", "U8", "F8_E8M0", "I32", "BF16"] as const) }); break
      default: out[at] = { ...tensor, name: tensor.name.replace(/\d+/, () => String(r.few(12))) }
    }
  }
  // A header that cannot be is for another target.
  return [...new Map(out.filter((t) => { try { tensorBytes(t); return true } catch { return false } }).map((t) => [t.name, t])).values()]
}

const storedOf = new Map<string, ReadonlyArray<readonly [string, StoredTensor]>>()
const stored = (toy: Toy): ReadonlyArray<readonly [string, StoredTensor]> => {
  const known = storedOf.get(toy.name)
  if (known) return known
  const made = [...importPlan({ source: sourceOf(toy, toy.tensors) }).checkpoint.metadata.tensors]
  storedOf.set(toy.name, made)
  return made
}

/** Others cannot be in a checkpoint. */
const stores = dtypes.filter((dtype) => torchName(dtype) !== undefined)

const changedStored = (all: ReadonlyArray<readonly [string, StoredTensor]>, r: Random): ReadonlyArray<readonly [string, StoredTensor]> => {
  const out = [...all]
  for (let times = 1 + r.few(3); times > 0; times--) {
    const at = r.below(out.length)
    const [key, tensor] = out[at] ?? out[0]!
    const whole = (shape: ReadonlyArray<number>): StoredTensor =>
      ({ ...tensor, shape, chunks: [{ offsets: shape.map(() => 0), sizes: shape, file: `${at}.distcp`, offset: 0, length: 0 }] })
    switch (r.below(6)) {
      case 0: out.splice(at, 1); break
      case 1: out[at] = [key, { ...tensor, dtype: r.pick(stores) }]; break
      case 2: out[at] = [key, whole(tensor.shape.map((n) => (r.chance(2) ? n : r.pick([0, 1, n + 1, n * 2]))))]; break
      case 3: out[at] = [r.chance(2) ? key.replace(/\.layers\.\d+\./, ".layers.") : key.replace(/\.layers\./, `.layers.${r.few(3)}.`), tensor]; break
      case 4: out[at] = [key, whole([r.few(6), ...tensor.shape])]; break
      default: out.push([key.replace(/\.layers\.\d+\./, ".layers."), whole([r.few(6), ...tensor.shape])])
    }
  }
  return [...new Map(out)]
}

export const plans: ReadonlyArray<Target> = [
  {
    name: "config",
    make: (r) => {
      const toy = r.pick(small)
      return write({ toy: toy.name, config: print(mutateTree(configTree(toy), r, FIELDS)), form: r.chance(4) ? "mimo" : "standard" })
    },
    read: (input) => {
      const plan = importPlan(recipe(input))
      execute(plan.checkpoint)
    }
  },
  {
    name: "tensors",
    make: (r) => {
      const toy = r.pick(small)
      return write({ toy: toy.name, tensors: changedTensors(toy.tensors, r) })
    },
    read: (input) => {
      const plan = importPlan(recipe(input))
      execute(plan.checkpoint)
    }
  },
  {
    name: "stored",
    make: (r) => {
      const toy = r.pick(small)
      return write({ toy: toy.name, stored: changedStored(stored(toy), r), ...(r.chance(3) ? { config: print(mutateTree(configTree(toy), r, FIELDS)) } : {}) })
    },
    read: (input) => {
      const made = recipe(input)
      const { source } = made
      const weights = made.config === undefined ? source.weights : undefined
      const plan = asWritten(planExport({ family: families.find(source.json), config: source, weights, checkpoint: checkpointOf(new Map(made.stored)) }, options))
      for (const tensor of plan.tensors.values()) executable(exportArray(plan, tensor))
    }
  }
]
