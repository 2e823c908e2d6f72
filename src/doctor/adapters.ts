/** Traps of adapters: what makes a loader drop them, scale them otherwise, or build them anew without a word. */
import { Effect } from "effect"
import { matricesOf, bindPeft } from "../adapters/bindPeft.ts"
import { openBase } from "../adapters/BaseModel.ts"
import { inputAxisOf } from "../adapters/inputAxis.ts"
import { locateAdapters } from "../adapters/locate.ts"
import { openPeft } from "../adapters/PeftDirectory.ts"
import { targetOf } from "../adapters/peftPair.ts"
import { type AdapterFacts, type AdapterModule, leafOf } from "../adapters/survey/AdapterFacts.ts"
import { surveyAdapters } from "../adapters/survey/survey.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { some } from "../errors.ts"
import { converting } from "../io/attempt.ts"
import type { OpenedSpace } from "../space/OpenedSpace.ts"
import { componentsOf } from "../space/names.ts"
import { adviceFor } from "./advice.ts"
import { type Diagnosis, diagnosis } from "./Diagnosis.ts"

const pathsOf = (modules: ReadonlyArray<AdapterModule>): ReadonlyArray<string> => modules.map(({ module, slot }) => (slot === undefined ? module : `${module}.${slot}`))

/** B is zero until the first step of a training. */
const untrained = ({ modules }: AdapterFacts): ReadonlyArray<Diagnosis> => {
  const zero = modules.filter(({ outputNorm }) => outputNorm === 0)
  if (zero.length === 0) return []
  const names = pathsOf(zero)
  if (zero.length === modules.length) {
    return [diagnosis("warning", "adapter-zero", `B of all ${modules.length} modules is zero: the adapter changes nothing, as before the first step of a training`, { fix: "Is this the checkpoint that was meant? A later iteration has what was trained.", names })]
  }
  return [diagnosis("warning", "adapter-zero", `B of ${zero.length} of ${modules.length} modules is zero, so they change nothing: ${some(names, 3)}`, { fix: "They got no gradient, or were made anew by a loader that did not find them.", names })]
}

const unpaired = ({ unpaired: names }: AdapterFacts): ReadonlyArray<Diagnosis> =>
  names.length === 0 ? [] : [diagnosis("error", "adapter-half", `${names.length} tensors belong to no pair of A and B of one rank: ${some(names, 3)}`, { fix: "Save the adapter again; loaders drop what they cannot match without a word.", names })]

/** The end of a path, as `target_modules` are matched. */
const isTargeted = (path: string, targets: ReadonlyArray<string>): boolean => targets.some((end) => path === end || path.endsWith(`.${end}`))

const REGEX = /[*+?()|[\]\\^$]/

/** What the configuration targets and what there are tensors for: peft drops the one, and makes the other anew. */
const targets = ({ modules, targetModules, targetParameters }: AdapterFacts): ReadonlyArray<Diagnosis> => {
  const out: Array<Diagnosis> = []
  const parents = targetParameters.map((path) => path.slice(0, Math.max(0, path.lastIndexOf("."))))
  const pattern = targetModules.some((target) => REGEX.test(target) || target === "all-linear")
  const dropped = pattern ? [] : modules.filter(({ module }) => !isTargeted(module, targetModules) && !isTargeted(module.replace(/(\.base_layer)+$/, ""), parents))
  if (dropped.length > 0) {
    const names = pathsOf(dropped)
    out.push(diagnosis("error", "adapter-untargeted", `${dropped.length} modules have matrices, but neither target_modules nor target_parameters names them; peft drops them without a word: ${some(names, 3)}`, {
      fix: "Add their last names to target_modules in adapter_config.json.", names
    }))
  }
  const absent = pattern ? [] : targetModules.filter((target) => !modules.some(({ module }) => isTargeted(module, [target])))
  if (absent.length > 0) {
    out.push(diagnosis("warning", "adapter-missing", `target_modules names ${some(absent, 5)}, of which there are no matrices: peft makes new ones, which change nothing`, {
      fix: "Is the adapter complete? Compare with `adapter export` of the checkpoint it came from, or take the names out.", names: absent
    }))
  }
  return out
}

/** Layers in which a module has no adapter that other layers have. */
const holes = ({ modules, targetModules }: AdapterFacts): ReadonlyArray<Diagnosis> =>
  [...Map.groupBy(modules.filter(({ layer }) => layer !== undefined), (m) => `${m.stack} ${leafOf(m)}`).values()].flatMap((own) => {
    const leaf = leafOf(own[0]!)
    const layers = new Set(own.map(({ layer }) => layer!))
    const last = Math.max(...layers)
    const absent = Array.from({ length: Math.min(last, 10_000) }, (_, i) => i).filter((i) => !layers.has(i))
    return absent.length === 0 || !targetModules.includes(leaf) ? [] : [diagnosis("warning", "adapter-missing", `${leaf} has an adapter in ${layers.size} layers of ${own[0]!.stack}, and none in layer ${absent.slice(0, 8).join(", ")}${absent.length > 8 ? " …" : ""}, though its name alone is a target`, {
      fix: "Loaders make new ones there, which change nothing; name whole paths as targets if that is meant."
    })]
  })

/** Steps of `--max-lora-rank`. */
const RANKS = [8, 16, 32, 64, 128, 256, 320, 512]
const USUAL_RANK = 16

/** What engines that serve adapters refuse, ignore, or have to be told. */
const engines = (facts: AdapterFacts): ReadonlyArray<Diagnosis> => {
  const { form, modules } = facts
  const out: Array<Diagnosis> = []
  if (form === "dora") out.push(diagnosis("warning", "adapter-engine", "vLLM refuses DoRA", { fix: "Serve the merged model: adapter merge." }))
  const highest = modules.reduce((most, { rank }) => Math.max(most, rank), 0)
  const step = RANKS.find((r) => r >= highest)
  if (step === undefined) out.push(diagnosis("warning", "adapter-engine", `rank ${highest} is above what vLLM serves (${RANKS.at(-1)})`, { fix: "Serve the merged model: adapter merge." }))
  else if (highest > USUAL_RANK) out.push(diagnosis("note", "adapter-engine", `vLLM has to be told of rank ${highest}: --max-lora-rank ${step} (its default is ${USUAL_RANK}); so does SGLang, --max-lora-rank ${highest}`))
  const scales = new Set(modules.map(({ scale }) => scale))
  const ranks = new Set(modules.map(({ rank }) => rank))
  if (scales.size > 1 || ranks.size > 1) {
    out.push(diagnosis("warning", "adapter-engine", `modules differ in ${[ranks.size > 1 ? `rank (${[...ranks].sort((a, b) => a - b).join(", ")})` : "", scales.size > 1 ? "scale" : ""].filter(Boolean).join(" and ")}: not every engine reads rank_pattern and alpha_pattern, and one that does not scales some modules otherwise`, {
      fix: "Compare one output with the merged model's, or serve that."
    }))
  }
  const componentOf = componentsOf(modules.map(({ module }) => module))
  const beside = modules.filter(({ module }) => ["vision", "audio", "speech"].includes(componentOf(module)))
  if (beside.length > 0) {
    out.push(diagnosis("warning", "adapter-engine", `${beside.length} modules are of an encoder or its projector: engines serve adapters of the language model, and ignore or refuse these: ${some(pathsOf(beside), 3)}`, {
      fix: "Serve the merged model: adapter merge.", names: pathsOf(beside)
    }))
  }
  const packed = modules.filter(({ experts, module }) => experts !== undefined || /\bexperts\.\d+\./.test(module))
  if (facts.sharedOuter) {
    out.push(diagnosis("warning", "adapter-engine", "matrices that all experts of a layer share are stored once, under names without an expert's number: SGLang takes that (experts_shared_outer_loras); peft and vLLM drop them", {
      fix: "Import it and export it with --shared-outer repeat, which repeats them for every expert."
    }))
  }
  if (packed.length > 0 && facts.kind === "peft") {
    out.push(diagnosis("note", "adapter-experts", packed[0]!.experts === undefined
      ? "experts have one pair of matrices each: the form for models whose experts the engine packs by itself; models with packed expert parameters want theirs flat, under experts"
      : "experts are in the flat form that peft 0.20 reads (rank-major columns of B); peft 0.18 and 0.19 take the axes of such parameters the other way round, and engines read it only for models with packed expert parameters", {
      fix: "Compare one output with the merged model's."
    }))
  }
  return out
}

/** Rank, alpha, DoRA: what is written beside the matrices, and what they are. */
const peftSettings = ({ alpha, form, modules, problem, rank }: AdapterFacts): ReadonlyArray<Diagnosis> => {
  if (rank === undefined) {
    return [diagnosis("error", problem === undefined ? "adapter-no-config" : "adapter-config", problem ?? "adapter_config.json is missing: nothing says alpha, and no loader reads the directory", {
      fix: problem === undefined ? "Copy it from where the adapter was saved; with another alpha every change is scaled otherwise." : "Merge with peft, and convert the model."
    })]
  }
  const out: Array<Diagnosis> = []
  // A scale says of which rank the configuration takes a module to be.
  const others = modules.filter((m) => m.experts === undefined && m.rank !== rank && m.scale !== undefined && alpha !== undefined && alpha !== 0)
  const unnamed = others.length === modules.length ? others : []
  if (unnamed.length > 0) {
    const found = [...new Set(unnamed.map((m) => m.rank))].join(", ")
    out.push(diagnosis("error", "adapter-rank", `adapter_config.json says r = ${rank}; the matrices have rank ${found}: peft cannot load them, and an engine that takes the scale from the configuration multiplies by alpha/${rank} instead of alpha/${found}`, {
      fix: "Correct r, and alpha if it was chosen for it.", names: pathsOf(unnamed)
    }))
  }
  const bare = form === "dora" ? modules.filter(({ magnitude }) => !magnitude) : []
  if (bare.length > 0) {
    out.push(diagnosis("error", "adapter-dora", `use_dora is set, yet ${bare.length} of ${modules.length} modules have no lora_magnitude_vector: peft makes them from the base and the adapter, which gives another model without a word`, {
      fix: "Export it anew from the checkpoint: adapter export keeps the magnitudes.", names: pathsOf(bare)
    }))
  }
  return out
}

const megatronSettings = ({ form, modules, problem, rank }: AdapterFacts): ReadonlyArray<Diagnosis> => {
  if (problem !== undefined) return [diagnosis("error", "adapter-config", problem, { fix: "Say --alpha to adapter export and adapter merge." })]
  if (rank === undefined) {
    return [diagnosis("error", "adapter-no-config", "no run_config.yaml here or above has a peft section: nothing says alpha. The reference takes rank 32 and alpha 32, with a warning: a wrong rank fails, a wrong alpha scales every change without a word", {
      fix: "Copy run_config.yaml of the training run beside the data, or say --alpha to adapter export and adapter merge."
    })]
  }
  const out: Array<Diagnosis> = []
  const odd = modules.filter((m) => m.rank !== rank && m.experts === undefined)
  if (odd.length > 0) {
    out.push(diagnosis("error", "adapter-rank", `run_config.yaml says dim ${rank}, ${odd.length} of ${modules.length} modules have rank ${[...new Set(odd.map((m) => m.rank))].join(", ")}: it belongs to another run, and its alpha with it`, {
      fix: "Take the run_config.yaml of the run that saved these.", names: pathsOf(odd)
    }))
  }
  if (form === "dora") out.push(diagnosis("warning", "adapter-dora", "Megatron-Bridge loses the magnitudes of DoRA when it exports or merges: the result is another model", { fix: "adapter export and adapter merge keep them." }))
  if (form === "canonical") {
    out.push(diagnosis("note", "adapter-canonical", "the trainer stores gate and up of canonical LoRA in an order that depends on its tensor-parallel size: it loads them at that size only", { fix: "adapter export and adapter merge undo it." }))
  }
  return out
}

/** What only the base model can tell: modules that it does not have, and shapes that are not its own. */
const againstBase = Effect.fnUntraced(function*(families: FamilyRegistry, space: OpenedSpace, facts: AdapterFacts, hfModel: string) {
  return yield* Effect.gen(function*() {
    const base = yield* openBase(families, hfModel)
    if (facts.kind === "megatron") {
      const unclaimed = yield* converting(() => locateAdapters(base.as(space.form ?? "auto").conversion.parameters, space.checkpoint!).unclaimed)
      return unclaimed.length === 0 ? [] : [diagnosis("error", "adapter-module", `${unclaimed.length} adapter tensors are of no linear weight of the base model: ${some(unclaimed, 3)}`, { fix: "Does --hf-model name the model that was trained on?", names: unclaimed })]
    }
    const peft = yield* openPeft(space.path)
    const { conversion: { parameters } } = base.as("standard")
    const matrices = matricesOf(parameters)
    const bound = yield* converting(() => bindPeft(peft, matrices, inputAxisOf(parameters, "last")))
    const fresh = facts.targetModules.some((target) => REGEX.test(target)) ? [] : [...matrices.values()]
      .filter((matrix) => !bound.has(matrix.tensor))
      .map((matrix) => targetOf(matrix))
      .filter(({ kind, path }) => kind === "module" && isTargeted(path, facts.targetModules))
      .map(({ path }) => path)
    return [
      diagnosis("ok", "adapter-base", `all ${bound.size} adapted matrices are linear layers of the base model, of these shapes`),
      ...(fresh.length === 0 ? [] : [diagnosis("warning", "adapter-missing", `target_modules names ${fresh.length} more modules of the base model, of which there are no matrices: ${some(fresh, 3)}`, { fix: "Loaders make new ones there, which change nothing; name whole paths as targets if that is meant.", names: fresh })])
    ]
  }).pipe(Effect.catch((error) =>
    error._tag === "IoError" ? Effect.fail(error) : Effect.succeed([diagnosis("error", error.code.replace("/", "-"), error.summary, { fix: adviceFor(error), ...(error._tag === "PlanRefused" && error.names ? { names: error.names } : {}) })])))
})

/** What of the facts a loader, an engine or a merge would stumble over. Pure. */
export const adapterTraps = (facts: AdapterFacts): ReadonlyArray<Diagnosis> => [
  ...(facts.kind === "peft" ? peftSettings(facts) : megatronSettings(facts)),
  ...unpaired(facts),
  ...(facts.kind === "peft" && facts.rank !== undefined ? targets(facts) : []),
  ...holes(facts),
  ...untrained(facts),
  ...engines(facts)
]

/** Examine the adapters of a space, if it has any; with its base model (`hfModel`) what only that can tell. Reads the adapters' matrices. */
export const examineAdapters = Effect.fnUntraced(function*(families: FamilyRegistry, space: OpenedSpace, hfModel: string | undefined) {
  const facts = yield* surveyAdapters(space, { norms: true })
  if (!facts) return undefined
  return { facts, found: [...adapterTraps(facts), ...(hfModel === undefined ? [] : yield* againstBase(families, space, facts, hfModel))] }
})
