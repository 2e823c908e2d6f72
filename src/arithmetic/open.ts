/** Which driver computes: the one that was asked for, or the fastest that is there. */
import { Unsupported } from "../errors.ts"
import type { Arithmetic } from "./Arithmetic.ts"
import { makeSimd } from "./simd.ts"
import { TFJS, tfjsArithmetic } from "./tfjs.ts"

/** `auto`: native tfjs where it is installed, else our own vectors, which are faster than tfjs in WebAssembly. */
export const computeChoices = ["auto", "simd", "tfjs"] as const
/** Who computes: one of `auto`, `simd`, `tfjs`. */
export type ComputeChoice = (typeof computeChoices)[number]

const reasonOf = (error: unknown): string => {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  return code === "ERR_MODULE_NOT_FOUND" ? "not installed" : String(message ?? error).split("\n")[0]!.slice(0, 200)
}

/** @throws Unsupported `unsupported/compute` where tfjs is asked for and no form of it can be loaded. */
export const openArithmetic = async (choice: ComputeChoice): Promise<Arithmetic> => {
  if (choice === "simd") return makeSimd()
  const reasons: Array<string> = []
  for (const form of TFJS) {
    if (choice === "auto" && !form.native) continue
    try {
      return tfjsArithmetic(form, await form.open())
    } catch (error) {
      reasons.push(`${form.package}: ${reasonOf(error)}`)
    }
  }
  if (choice === "auto") return makeSimd()
  throw new Unsupported({
    code: "unsupported/compute",
    what: "--compute tfjs",
    problem: `no form of TensorFlow.js can be loaded (${reasons.join("; ")})`,
    hint: "npm install @tensorflow/tfjs-core @tensorflow/tfjs-backend-wasm, or --compute simd, which needs nothing."
  })
}
