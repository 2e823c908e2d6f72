/**
 * Element types. The canonical names are those of the safetensors format (22 of them); torch's names are given beside.
 * Sub-byte types exist only as raw bytes: nothing here looks inside them.
 */

/** dtype name → [bits per element, torch name or undefined where torch has none]. */
const TABLE = {
  BOOL: [8, "bool"],
  F4: [4, undefined],
  F6_E2M3: [6, undefined],
  F6_E3M2: [6, undefined],
  U8: [8, "uint8"],
  I8: [8, "int8"],
  F8_E5M2: [8, "float8_e5m2"],
  F8_E4M3: [8, "float8_e4m3fn"],
  F8_E8M0: [8, "float8_e8m0fnu"],
  F8_E4M3FNUZ: [8, "float8_e4m3fnuz"],
  F8_E5M2FNUZ: [8, "float8_e5m2fnuz"],
  I16: [16, "int16"],
  U16: [16, "uint16"],
  F16: [16, "float16"],
  BF16: [16, "bfloat16"],
  I32: [32, "int32"],
  U32: [32, "uint32"],
  F32: [32, "float32"],
  C64: [64, "complex64"],
  F64: [64, "float64"],
  I64: [64, "int64"],
  U64: [64, "uint64"]
} as const satisfies Record<string, readonly [number, string | undefined]>

/** The dtypes of safetensors 0.8, by their names in its header. */
export type DType = keyof typeof TABLE

/** All of them, in the order of the safetensors library. */
export const dtypes: ReadonlyArray<DType> = Object.keys(TABLE) as Array<DType>

/** Whether a name is that of a dtype. */
export const isDType = (name: string): name is DType => Object.hasOwn(TABLE, name)

/** Bits of one element; sub-byte types have fewer than 8. */
export const bitsOf = (dtype: DType): number => TABLE[dtype][0]

/** Bytes per element; throws for the sub-byte types, whose elements have no address of their own. */
export const bytesOf = (dtype: DType): number => {
  const bits = bitsOf(dtype)
  if (bits % 8 !== 0) throw new RangeError(`${dtype} elements have no byte address`)
  return bits / 8
}

/** torch's name without the `torch.` prefix, e.g. `bfloat16`. */
export const torchName = (dtype: DType): string | undefined => TABLE[dtype][1]

/** Floating types that a `--torch-dtype` cast applies to. */
export const isFloat = (dtype: DType): boolean => dtype === "BF16" || dtype === "F16" || dtype === "F32" || dtype === "F64"

/** Integers and booleans. */
export const isInteger = (dtype: DType): boolean => /^[IU]\d|^BOOL$/.test(dtype)
