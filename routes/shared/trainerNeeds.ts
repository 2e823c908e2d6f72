/**
 * Notes about what no released class of the trainer does: the checkpoint is whole, and a trainer's model must be made for it. Loaders
 * do not mind tensors that a model does not ask for, so a plain model may load it without a word and compute something else.
 */

/** What a model of the trainer must have, as an object of "needs". */
export const NEEDS = {
  outputNorms: "norms of the outputs of attention and MLP (linear_proj.post_layernorm, linear_fc2.post_layernorm)",
  wideNorms: "norms of queries and keys over all heads at once",
  normsBehindRotary: "norms of queries and keys behind the rotary embedding, not in front of it",
  imageTower: "the vision tower in front of its language model",
  stretchedApart: "positions that are stretched in the layers of full attention and not in those with a window"
} as const

export const needsNote = (...what: ReadonlyArray<string>): ReadonlyArray<string> =>
  what.length === 0 ? [] : [`no released class of the trainer computes this model: it needs ${what.join("; ")}. A plain one may load the checkpoint even so, and compute another model`]

/** Fields of config.json that run_config.yaml cannot carry, by name. */
export const lostNote = (fields: Readonly<Record<string, number | boolean>>): ReadonlyArray<string> => {
  const named = Object.entries(fields).map(([name, value]) => `${name} ${value}`)
  return named.length === 0 ? [] : [`run_config.yaml has no field for ${named.join(", ")} of config.json: a trainer that goes by it alone computes another model`]
}
