/**
 * DDP's `module.`: a MIMO trainer wraps each component, and its keys then carry `module.` behind the component's name. The
 * reference's converter cannot read those (torch-dist-format.md F.1).
 */
import { modalityOf, unwrapKey, wrapKey } from "../../model/storedKey.ts"
import { modelKeys, rename } from "../Draft.ts"
import { noEquivalent, type Rule } from "./Rule.ts"

export const toPlain: Rule = (draft) => {
  if (modelKeys(draft).every((key) => unwrapKey(key) === key)) return noEquivalent("plain", "no key carries module.")
  return rename(draft, unwrapKey)
}

export const toDdp: Rule = (draft) => {
  const keys = modelKeys(draft)
  if (keys.every((key) => modalityOf(key) === undefined)) {
    return noEquivalent("ddp", "a standard checkpoint is saved without wrappers, whether it was trained or not")
  }
  if (keys.some((key) => unwrapKey(key) !== key)) return noEquivalent("ddp", "the keys carry module. already")
  return rename(draft, (key) => wrapKey(key) ?? key)
}
