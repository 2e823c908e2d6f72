/** The `peft` section of `run_config.yaml`: of which class a run's adapters are, and their settings (adapters-and-assembly.md 1.2). */
import { FormatError, quote } from "../errors.ts"
import { type Float, float, pythonObject, type PythonValue } from "./Provider.ts"
import { isMapping, numberAt, type RunConfigMap, sectionAt, textAt } from "./RunConfigFile.ts"

/** `lora`: one adapter for each weight; `canonical`: one for each part of a fused weight; `dora`: with row lengths of their own. */
export type AdapterForm = "lora" | "canonical" | "dora"

/** Adapters as a trainer is told of them. */
export interface AdapterSettings {
  readonly form: AdapterForm
  /** `dim`: of every adapter, where it is not normalised. */
  readonly rank: number
  readonly alpha: number
  readonly dropout: number
  readonly targetModules: ReadonlyArray<string>
  /** All experts of a rank have one adapter. */
  readonly shareExperts: boolean
  /** Experts share A of their first layer and B of their second. */
  readonly sharedOuter: boolean
  /** `checkpoint.pretrained_checkpoint`: the base that was trained on. */
  readonly base?: string
}

const PEFT = "megatron.bridge.peft"
const CLASSES = {
  lora: { target: `${PEFT}.lora.LoRA`, alpha: 32, targets: ["linear_qkv", "linear_proj", "linear_fc1", "linear_fc2"] },
  canonical: {
    target: `${PEFT}.canonical_lora.CanonicalLoRA`,
    alpha: 32,
    targets: ["linear_q", "linear_k", "linear_v", "linear_proj", "linear_fc1_up", "linear_fc1_gate", "linear_fc2"]
  },
  dora: { target: `${PEFT}.dora.DoRA`, alpha: 64, targets: ["linear_qkv", "linear_proj", "linear_fc1", "linear_fc2"] }
} as const satisfies Record<AdapterForm, { readonly target: string; readonly alpha: number; readonly targets: ReadonlyArray<string> }>

/** All classes have it. */
const USUAL_RANK = 32

const formOf = (target: string): AdapterForm => {
  const name = target.split(".").at(-1)!
  if (name === "LoRA" || name === "VLMLoRA") return "lora"
  if (name === "CanonicalLoRA") return "canonical"
  if (name === "DoRA") return "dora"
  throw new FormatError("run-config/adapters", `the class ${quote(target)} is none of the adapters that are known (LoRA, VLMLoRA, CanonicalLoRA, DoRA)`, { field: "peft._target_" })
}

const texts = (value: PythonValue | undefined): ReadonlyArray<string> | undefined =>
  Array.isArray(value) && value.every((v) => typeof v === "string") ? value as ReadonlyArray<string> : undefined

/** What a run configuration says of adapters; undefined where it has none. FormatError `run-config/adapters`. */
export const adapterSettings = (config: RunConfigMap): AdapterSettings | undefined => {
  const own = sectionAt(config, "peft")
  if (!isMapping(own)) return undefined
  const form = formOf(textAt(own, "_target_") ?? CLASSES.lora.target)
  const number = (field: string, usual: number, least: number): number => {
    const found = numberAt(own, field) ?? usual
    if (!(found >= least && Number.isFinite(found))) throw new FormatError("run-config/adapters", `${found} is no ${field} of an adapter`, { field: `peft.${field}` })
    return found
  }
  const base = textAt(sectionAt(config, "checkpoint"), "pretrained_checkpoint")
  return {
    form,
    rank: number("dim", USUAL_RANK, 1),
    alpha: number("alpha", CLASSES[form].alpha, 0),
    dropout: number("dropout", 0, 0),
    targetModules: texts(own["target_modules"]) ?? CLASSES[form].targets,
    shareExperts: own["share_expert_adapters"] !== false,
    sharedOuter: own["experts_shared_outer_loras"] === true,
    ...(base === undefined ? {} : { base })
  }
}

const whole = (value: number): number | Float => (Number.isInteger(value) ? value : float(value))

/** The section that makes a trainer build these adapters. */
export const peftSection = ({ alpha, dropout, form, rank, sharedOuter, shareExperts, targetModules }: AdapterSettings): PythonValue =>
  pythonObject(CLASSES[form].target, {
    target_modules: targetModules,
    dim: rank,
    alpha: whole(alpha),
    dropout: float(dropout),
    dropout_position: "pre",
    lora_A_init_method: "xavier",
    lora_B_init_method: "zero",
    // DoRA has neither.
    ...(form === "dora" ? {} : { share_expert_adapters: shareExperts }),
    ...(form === "lora" && sharedOuter ? { experts_shared_outer_loras: true } : {})
  })
