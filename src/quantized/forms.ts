/**
 * The quantised forms that published checkpoints have, told apart by names and dtypes. Each form is one function from the
 * tensor that holds codes to the {@link QuantizedTensor}. Arithmetic and layouts: bridges-and-mappings.md §1.12.
 */
import { FormatError } from "../errors.ts"
import { type Shape, stridesOf } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { isPacked, dtypeOfCodes } from "../tensor/kernels/codes.ts"
import type { Codes } from "../tensor/Transform.ts"
import { blocked, byRows, type Geometry, equalGroups, single } from "./geometry.ts"
import type { BlockSize } from "./QuantizationConfig.ts"
import type { QuantizedTensor } from "./QuantizedTensor.ts"

export interface Stored {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
}

export interface Headers {
  readonly get: (name: string) => Stored | undefined
  readonly blockSize: BlockSize
}

/** The quantised tensor whose codes `stored` holds; undefined if it holds values. FormatError if its scales do not fit. */
export type QuantizedForm = (stored: Stored, headers: Headers) => QuantizedTensor | undefined

const cut = (name: string, suffix: string): string | undefined => (name.endsWith(suffix) ? name.slice(0, -suffix.length) : undefined)

const fail = (code: string, problem: string, tensor: string): never => {
  throw new FormatError(`quantized/${code}`, problem, { tensor })
}

const scalesFor = (owner: Stored, names: ReadonlyArray<string>, dtypes: ReadonlyArray<DType>, { get }: Headers): Stored => {
  const found = names.flatMap((name) => get(name) ?? [])
  if (found.length > 1) fail("two-scales", `has two kinds of scales: ${found.map((s) => s.name).join(" and ")}`, owner.name)
  const scales = found[0] ?? fail("no-scales", `holds ${owner.dtype} codes, but there is no ${names.join(" or ")}`, owner.name)
  if (!dtypes.includes(scales.dtype)) fail("scale-dtype", `${scales.dtype} cannot be the scales of ${owner.name}`, scales.name)
  return scales
}

const unfit = (scales: Stored, owner: Stored, shape: Shape): never =>
  fail("scale-shape", `[${scales.shape}] are no scales for ${owner.name} [${shape}]`, scales.name)

interface Parts {
  readonly name: string
  readonly shape: Shape
  readonly codes: Codes
  readonly stored: Stored
  readonly scales: Stored
  readonly geometry: Geometry
  readonly extra?: ReadonlyArray<string>
  readonly rounded?: boolean
}

const LABELS: Readonly<Record<Codes, string>> = { e4m3: "FP8 E4M3", e5m2: "FP8 E5M2", e2m1: "FP4 E2M1", int4: "INT4" }

const assemble = ({ codes, extra = [], geometry, name, rounded, scales, shape, stored }: Parts): QuantizedTensor => ({
  name,
  shape,
  form: `${LABELS[codes]}, ${geometry.label}`,
  members: [stored.name, scales.name, ...extra],
  layout: {
    shape,
    codes: { tensor: { name: stored.name, packed: isPacked(dtypeOfCodes(codes)) }, strides: stridesOf(shape) },
    scales: { tensor: { name: scales.name, packed: false }, strides: geometry.strides, blocks: geometry.blocks },
    transform: { kind: "dequantize", codes, ...(rounded ? { scale: "BF16" as const } : {}) }
  }
})

const FLOAT8: Partial<Record<DType, Codes>> = { F8_E4M3: "e4m3", F8_E5M2: "e5m2" }
const FLOATS: ReadonlyArray<DType> = ["F32", "BF16", "F16"]

/**
 * FP8 `x` with `x_scale_inv` (one F32 per block; or one for all, then in BF16 arithmetic), `x_scale`, or `….scale` beside
 * `….weight` (also E8M0; per row, per tile of a row, per block).
 */
const float8: QuantizedForm = (stored, headers) => {
  const codes = FLOAT8[stored.dtype]
  if (codes === undefined) return undefined
  const { name, shape } = stored
  const module = cut(name, ".weight")
  const inverse = `${name}_scale_inv`
  const names = [inverse, `${name}_scale`, ...(module === undefined ? [] : [`${module}.scale`])]
  const scales = scalesFor(stored, names, [...FLOATS, "F8_E8M0"], headers)
  const isInverse = scales.name === inverse
  const one = single(shape, scales.shape)
  const rows = scales.shape.length === 2 && scales.shape[0] === shape[0]
  const geometry = one ?? (isInverse
    ? blocked(shape, scales.shape, headers.blockSize)
    : (rows ? equalGroups(shape, scales.shape) : undefined) ?? blocked(shape, scales.shape, headers.blockSize) ??
      equalGroups(shape, scales.shape) ?? byRows(shape, scales.shape, headers.blockSize[0]))
  if (geometry === undefined) return unfit(scales, stored, shape)
  return assemble({ name, shape, codes, stored, scales, geometry, rounded: isInverse && one !== undefined })
}

/** FP4 `….weight` with two codes per byte, and `….scale` per 32 (or another number) columns of a row. */
const float4: QuantizedForm = (stored, headers) => {
  const module = cut(stored.name, ".weight")
  if (module === undefined || (stored.dtype !== "I8" && stored.dtype !== "U8") || !headers.get(`${module}.scale`)) return undefined
  const shape = unpackedShape(stored, 2)
  const scales = scalesFor(stored, [`${module}.scale`], ["F8_E8M0", "U8", ...FLOATS], headers)
  const geometry = equalGroups(shape, scales.shape) ?? unfit(scales, stored, shape)
  return assemble({ name: stored.name, shape, codes: "e2m1", stored, scales, geometry })
}

const unpackedShape = ({ name, shape }: Stored, perElement: number): Shape => {
  const columns = shape.at(-1) ?? fail("packed-shape", "a scalar cannot hold packed codes", name)
  return [...shape.slice(0, -1), columns * perElement]
}

/** `weight_packed` and `weight_scale`: INT4 less 8, eight to an I32, with `weight_shape`; or FP4, two to a byte. */
const packed: QuantizedForm = (stored, headers) => {
  const module = cut(stored.name, ".weight_packed")
  if (module === undefined) return undefined
  const isInt4 = stored.dtype === "I32"
  if (!isInt4 && stored.dtype !== "U8" && stored.dtype !== "I8") fail("packed-dtype", `${stored.dtype} cannot hold packed codes`, stored.name)
  for (const suffix of ["weight_zero_point", "weight_g_idx", "weight_global_scale"]) {
    if (headers.get(`${module}.${suffix}`)) fail("unsupported", `there is no dequantisation with a ${suffix} here`, stored.name)
  }
  const shape = unpackedShape(stored, isInt4 ? 8 : 2)
  const scales = scalesFor(stored, [`${module}.weight_scale`], isInt4 ? FLOATS : ["F8_E8M0", "U8", ...FLOATS], headers)
  const geometry = equalGroups(shape, scales.shape) ?? unfit(scales, stored, shape)
  const shapeName = `${module}.weight_shape`
  const extra = headers.get(shapeName) ? [shapeName] : isInt4 ? fail("no-shape", `there is no ${shapeName}`, stored.name) : []
  return assemble({ name: `${module}.weight`, shape, codes: isInt4 ? "int4" : "e2m1", stored, scales, geometry, extra })
}

const BYTES_PER_GROUP = 16

/**
 * MXFP4 experts: `x_blocks` U8 `[E, R, G, 16]`, low half first, and `x_scales` `[E, R, G]`, exponents biased by 127. Without
 * quantisation `x` is stored `[E, 32·G, R]`, and so it appears here.
 */
const experts: QuantizedForm = (stored, headers) => {
  const name = cut(stored.name, "_blocks")
  if (name === undefined || (stored.dtype !== "U8" && !headers.get(`${name}_scales`))) return undefined
  const [E = 0, R = 0, G = 0, width] = stored.shape
  if (stored.dtype !== "U8" || stored.shape.length !== 4 || width !== BYTES_PER_GROUP) {
    return fail("packed-shape", `${stored.dtype} [${stored.shape}] are no MXFP4 blocks [experts, rows, groups, 16]`, stored.name)
  }
  const scales = scalesFor(stored, [`${name}_scales`], ["U8", "F8_E8M0"], headers)
  const columns = G * BYTES_PER_GROUP * 2
  const rowMajor = [E, R, columns]
  const geometry = equalGroups(rowMajor, scales.shape) ?? unfit(scales, stored, rowMajor)
  if (scales.shape[2] !== G) return unfit(scales, stored, rowMajor)
  const quantized = assemble({ name, shape: rowMajor, codes: "e2m1", stored, scales, geometry })
  const turned = (axes: ReadonlyArray<number>): ReadonlyArray<number> => [axes[0]!, axes[2]!, axes[1]!]
  const { codes, scales: of, ...rest } = quantized.layout
  return {
    ...quantized,
    shape: turned(rowMajor),
    layout: {
      ...rest,
      shape: turned(rowMajor),
      codes: { ...codes, strides: turned(codes.strides) },
      scales: { ...of, strides: turned(of.strides), blocks: turned(of.blocks) }
    }
  }
}

export const forms: ReadonlyArray<QuantizedForm> = [experts, packed, float4, float8]

/** What a tensor must belong to if it is named like a scale: the names that would hold its codes. */
export const ownersOfScales = ({ dtype, name }: Stored): ReadonlyArray<string> => {
  const inverse = cut(name, "_scale_inv")
  if (inverse !== undefined) return [inverse]
  const weight = cut(name, ".weight_scale")
  if (weight !== undefined) return [`${weight}.weight`, `${weight}.weight_packed`]
  const blocks = dtype === "U8" ? cut(name, "_scales") : undefined
  return blocks === undefined ? [] : [`${blocks}_blocks`]
}

/** Names of the scales of a module's activations, which no value of a weight depends on. */
export const ACTIVATION_SCALES = ["activation_scale", "input_scale", "output_scale", "activation_scale_inv", "input_scale_inv"]
