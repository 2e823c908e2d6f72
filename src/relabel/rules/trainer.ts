/**
 * The files of a trainer around the same tensors: Megatron-Bridge describes the model in run_config.yaml, Megatron-LM in the
 * arguments of its run. No key changes; what is written is in `trainerForm.ts`.
 */
import { modalityOf } from "../../model/storedKey.ts"
import { modelKeys } from "../Draft.ts"
import { noEquivalent, type Rule } from "./Rule.ts"

export const toBridge: Rule = (draft, { args, runConfig }) => {
  if (runConfig) return noEquivalent("bridge", "the checkpoint has a run_config.yaml already")
  return args ? draft : noEquivalent("bridge", "the common state holds no arguments of a run, which would describe the model", "--to standard --hf-model DIR makes a run_config.yaml from a config.json.")
}

/** What Megatron-LM's own language models consist of. */
const LANGUAGE = /^(?:embedding|decoder|output_layer|mtp)\./

export const toMegatronLm: Rule = (draft, { runConfig }) => {
  if (!runConfig) return noEquivalent("megatron-lm", "the checkpoint has no run_config.yaml: it is none of Megatron-Bridge")
  const other = modelKeys(draft).find((key) => modalityOf(key) !== undefined || !LANGUAGE.test(key.replace(/^(?:module\.)+/, "")))
  return other === undefined ? draft : noEquivalent("megatron-lm", `its trainer builds language models alone; there is ${other}`)
}
