/** Which experts a token goes through, and with what weights. */
import type { RouterFacts } from "../model/Forward.ts"
import { sigmoid } from "./elementwise.ts"

export interface Choice {
  readonly expert: number
  readonly weight: number
}

/** Indices of the largest values, descending; of equal ones the first. */
export const largest = (values: ArrayLike<number>, count: number): ReadonlyArray<number> => {
  const best: Array<number> = []
  if (count === 0) return best
  let least = -Infinity
  for (let i = 0; i < values.length; i++) {
    if (best.length === count && !(values[i]! > least)) continue
    let at = best.length
    while (at > 0 && values[i]! > values[best[at - 1]!]!) at--
    best.splice(at, 0, i)
    if (best.length > count) best.pop()
    least = values[best[best.length - 1]!]!
  }
  return best
}

const softmaxOf = (values: ReadonlyArray<number>): ReadonlyArray<number> => {
  const most = Math.max(...values)
  const powers = values.map((v) => Math.exp(v - most))
  const sum = powers.reduce((a, b) => a + b, 0)
  return powers.map((p) => p / sum)
}

/** Scores of experts outside of the best groups become −∞. */
const withinGroups = (scores: ReadonlyArray<number>, groups: RouterFacts["groups"]): ReadonlyArray<number> => {
  if (groups === undefined || groups.chosen >= groups.count) return scores
  const size = scores.length / groups.count
  const worth = Array.from({ length: groups.count }, (_, g) => {
    const [first = -Infinity, second = 0] = scores.slice(g * size, (g + 1) * size).sort((a, b) => b - a)
    return groups.by === "best" ? first : first + second
  })
  const eligible = new Set(largest(worth, groups.chosen))
  return scores.map((score, expert) => (eligible.has(Math.floor(expert / size)) ? score : -Infinity))
}

/** `logits`: one per expert; `correction`: added to the scores for the choice. */
export const chooseExperts = (logits: ReadonlyArray<number>, correction: Float32Array | undefined, perToken: number, { groups, normalized, scale, score }: RouterFacts): ReadonlyArray<Choice> => {
  const scores = score === "softmax" ? softmaxOf(logits) : score === "sigmoid" ? logits.map(sigmoid) : logits
  const eligible = withinGroups(correction ? scores.map((s, e) => s + correction[e]!) : scores, groups)
  const chosen = largest(eligible, perToken)
  const own = chosen.map((expert) => scores[expert]!)
  const weights = score === "chosen-softmax" ? softmaxOf(own) : own
  const sum = normalized ? Math.max(weights.reduce((a, b) => a + b, 0), normalized.least) : 1
  return chosen.map((expert, i) => ({ expert, weight: (weights[i]! / sum) * scale }))
}
