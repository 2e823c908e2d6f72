/** Choices of a conversion, as the library takes them; the CLI parses its flags into these. */
import type { DType } from "../tensor/DType.ts"

/** `source`: every tensor keeps its own dtype. */
export type TorchDtype = "source" | "bfloat16" | "float16" | "float32"

/** Multi-token-prediction tensors: `keep` what is there, `drop` them, or `require` all that the config promises. */
export type MtpMode = "keep" | "drop" | "require"

export const torchDtypes: ReadonlyArray<TorchDtype> = ["source", "bfloat16", "float16", "float32"]
export const mtpModes: ReadonlyArray<MtpMode> = ["keep", "drop", "require"]

const CASTS = { bfloat16: "BF16", float16: "F16", float32: "F32" } as const satisfies Record<Exclude<TorchDtype, "source">, DType>

/** The dtype a cast asks for; undefined: none. */
export const castTo = (dtype: TorchDtype): DType | undefined => (dtype === "source" ? undefined : CASTS[dtype])
