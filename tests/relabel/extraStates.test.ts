/** Which module states a checkpoint should have: by what the modules of the model room give, and by what is there. */
import { describe, expect, it } from "vitest"
import { givesState } from "../../src/model/moduleStates.ts"
import { type Draft, draftOf } from "../../src/relabel/Draft.ts"
import { expectedStates, missingStates } from "../../src/relabel/rules/extraStates.ts"
import { families } from "../../routes/index.ts"
import { describeModel } from "../../src/space/describeModel.ts"
import { statesIn } from "../../src/relabel/familyFacts.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { importOf } from "../families/inMemory.ts"
import { sourceOf, toys } from "../families/toys.ts"

const draft = (weights: Readonly<Record<string, ReadonlyArray<number>>>, states: ReadonlyArray<string>): Draft => ({
  ...draftOf({ className: "", tensors: new Map(), objects: new Map() }),
  tensors: new Map(Object.entries(weights).map(([key, shape]) => [key, { dtype: "BF16", shape, pieces: [] }])),
  objects: new Map(states.map((key) => [key, "empty"]))
})

it("nothing is missing in what an import writes, for any family", () => {
  const missing = toys.flatMap((toy) => missingStates(draftOf(importOf(toy).checkpoint.metadata)).slice(0, 1).map((key) => `${toy.name}: ${key}`))
  expect(missing).toEqual([])
})

it.each(["standard", "mimo"] as const)("with a config.json exactly those are supplied that an import writes, for any family (%s)", (form) => {
  const isState = (key: string) => key.includes("._extra_state/")
  const wrong = toys.filter(({ config }) => form === "standard" || (families.find(config).mimo ?? []).length > 0).flatMap((toy) => {
    const full = draftOf(importOf(toy, form).checkpoint.metadata)
    const none = { ...full, objects: new Map([...full.objects].filter(([key]) => !isState(key))) }
    const description = describeModel(families.find(toy.config), sourceOf(toy, toy.tensors), noHeaders)
    const supplied = new Set(expectedStates(none, statesIn(description)))
    const written = [...full.objects.keys()].filter(isState)
    return supplied.size === written.length && written.every((key) => supplied.has(key)) ? [] : [toy.name]
  })
  expect(wrong).toEqual([])
})

describe("a checkpoint of the local spec", () => {
  const weights = {
    "decoder.layers.mlp.linear_fc2.weight": [2, 4, 4],
    "decoder.layers.mlp.router.weight": [2, 4, 4],
    // The norm before the experts, as the local spec calls it; there is no linear_fc1.
    "decoder.layers.mlp.linear_fc1.layer_norm_weight": [2, 4],
    "decoder.layers.self_attention.q_layernorm.weight": [2, 4],
    "decoder.final_layernorm.weight": [4]
  }
  const states = ["decoder.layers.mlp.linear_fc2._extra_state/shard_0_2", "decoder.layers.mlp.linear_fc2._extra_state/shard_1_2"]

  it("misses none for its norms", () => {
    expect(expectedStates(draft(weights, states))).toEqual(states)
  })

  it("but does for a layer of a linear module", () => {
    expect(missingStates(draft(weights, states.slice(1)))).toEqual(states.slice(0, 1))
  })

  it("where nothing is stored, norms are supplied too", () => {
    expect(missingStates(draft(weights, []))).toEqual([
      ...states,
      "decoder.layers.self_attention.q_layernorm._extra_state/shard_0_2",
      "decoder.layers.self_attention.q_layernorm._extra_state/shard_1_2",
      "decoder.final_layernorm._extra_state/shard_0_1"
    ])
  })
})

it("a tower of foreign modules has none", () => {
  expect(givesState("vision_tower.encoder.layers.0.self_attention.linear_qkv")).toBe("no")
  expect(givesState("vision_model.decoder.layers.self_attention.linear_qkv")).toBe("yes")
  expect(givesState("decoder.layers.0.mixer.norm")).toBe("no")
  expect(givesState("output_layer")).toBe("no")
})
