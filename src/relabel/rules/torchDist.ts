/** The format itself: pieces of ranks become the items of an index. Whoever plans that has made a draft of them already. */
import { noEquivalent, type Rule } from "./Rule.ts"

const isOfRanks = (draft: Parameters<Rule>[0]): boolean => draft.tensors.values().some(({ pieces }) => pieces.some(({ item }) => item.view !== undefined))

export const toTorchDist: Rule = (draft) => (isOfRanks(draft) ? draft : noEquivalent("torch-dist", "the checkpoint is of that format"))
