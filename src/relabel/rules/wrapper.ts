/**
 * DDP's `module.`: a MIMO trainer wraps each component, and its keys then carry `module.` behind the component's name. The
 * reference's converter cannot read those (torch-dist-format.md F.1).
 */
import { unwrapKey } from "../../checkpoint/Checkpoint.ts"
import { modelKeys, rename } from "../Draft.ts"
import { refuse, type Rule } from "./Rule.ts"

export const toPlain: Rule = (draft) => {
  if (modelKeys(draft).every((key) => unwrapKey(key) === key)) return refuse("plain", "no key carries module.")
  return rename(draft, unwrapKey)
}

const COMPONENT = /^(language_model|modality_submodules\.[^.]+)\./

export const toDdp: Rule = (draft) => {
  const keys = modelKeys(draft)
  if (!keys.some((key) => key.startsWith("modality_submodules."))) {
    return refuse("ddp", "a standard checkpoint is saved without wrappers, whether it was trained or not")
  }
  if (keys.some((key) => unwrapKey(key) !== key)) return refuse("ddp", "the keys carry module. already")
  return rename(draft, (key) => key.replace(COMPONENT, "$1.module."))
}
