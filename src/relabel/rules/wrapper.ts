/**
 * DDP's `module.`: a MIMO trainer wraps each component, and its keys then carry `module.` behind the component's name. The
 * reference's converter cannot read those (torch-dist-format.md F.1).
 */
import { NEVER_WRAPPED, prefixFor } from "../../mimo/loadRoute.ts"
import { modalityOf, unwrapKey } from "../../model/storedKey.ts"
import { modelKeys, rename } from "../Draft.ts"
import { noEquivalent, type Rule } from "./Rule.ts"

export const toPlain: Rule = (draft) => {
  if (modelKeys(draft).every((key) => unwrapKey(key) === key)) return noEquivalent("plain", "no key carries module.")
  return rename(draft, unwrapKey)
}

export const toDdp: Rule = (draft) => {
  const keys = modelKeys(draft)
  if (keys.every((key) => modalityOf(key) === undefined)) {
    return noEquivalent("ddp", NEVER_WRAPPED)
  }
  if (keys.some((key) => unwrapKey(key) !== key)) return noEquivalent("ddp", "the keys carry module. already")
  return rename(draft, (key) => prefixFor("ddp", key))
}
