/** What quantised checkpoints look like to everybody else, form by form; and what is refused. */
import { describe, expect, it } from "vitest"
import { FormatError } from "../../src/errors.ts"
import { hfWeightsOf } from "../../src/space/HfWeights.ts"
import { storedArray, type StoredWeights, storedWeights } from "../../src/space/StoredWeights.ts"
import { readSpace } from "../../src/space/TensorSpace.ts"
import { encodeHeader } from "../../src/safetensors/encodeHeader.ts"
import { identity } from "../../src/tensor/Copy.ts"
import type { DType } from "../../src/tensor/DType.ts"

type Entry = readonly [name: string, dtype: DType, shape: ReadonlyArray<number>]

const checkpoint = (entries: ReadonlyArray<Entry>): StoredWeights => {
  const { dataStart, fileSize, headerBytes, metadata, tensors } = encodeHeader(entries.map(([name, dtype, shape]) => ({ name, dtype, shape })))
  const held = tensors.map((t) => ({ ...t, shard: 0 }))
  return storedWeights({
    directory: "/hf",
    shards: [{ file: "model.safetensors", path: "/hf/model.safetensors", size: fileSize, identity: "", stamp: "", headerBytes, metadata, tensors: held }],
    tensors: new Map(held.map((t) => [t.name, t])),
    tensorBytes: fileSize - dataStart,
    otherFiles: [],
    warnings: []
  })
}

const seen = (entries: ReadonlyArray<Entry>, config?: unknown) =>
  [...hfWeightsOf(checkpoint(entries), config).tensors.values()].map(({ dtype, name, place, shape }) => [name, dtype, shape, place.kind === "codes" ? place.form : "plain"])

const refusal = (entries: ReadonlyArray<Entry>, config?: unknown) => {
  try {
    hfWeightsOf(checkpoint(entries), config)
  } catch (error) {
    if (error instanceof FormatError) return { code: error.code, tensor: error.place.tensor, field: error.place.field, problem: error.message }
    throw error
  }
  throw new Error("was not refused")
}

describe("a quantised tensor is seen as the BF16 tensor that an unquantised checkpoint has", () => {
  it.each<[form: string, entries: ReadonlyArray<Entry>, config: unknown, shape: ReadonlyArray<number>, name?: string]>([
    ["FP8 E4M3, 128×128 blocks", [["m.weight", "F8_E4M3", [300, 130]], ["m.weight_scale_inv", "F32", [3, 2]]], undefined, [300, 130]],
    ["FP8 E4M3, 64×32 blocks", [["m.weight", "F8_E4M3", [300, 130]], ["m.weight_scale_inv", "BF16", [5, 5]]], { quantization_config: { weight_block_size: [64, 32] } }, [300, 130]],
    ["FP8 E4M3, 64×32 blocks", [["m.weight", "F8_E4M3", [300, 130]], ["m.weight_scale_inv", "F32", [5, 5]]], { text_config: { quantization_config: { weight_block_size: [64, 32] } } }, [300, 130]],
    ["FP8 E4M3, 128×128 blocks", [["e.down_proj", "F8_E4M3", [4, 300, 130]], ["e.down_proj_scale_inv", "F32", [4, 3, 2]]], undefined, [4, 300, 130], "e.down_proj"],
    ["FP8 E4M3, one scale per tensor", [["m.weight", "F8_E4M3", [300, 130]], ["m.weight_scale_inv", "BF16", []]], { quantization_config: { weight_block_size: null } }, [300, 130]],
    ["FP8 E5M2, one scale per tensor", [["m.weight", "F8_E5M2", [300, 130]], ["m.weight_scale", "F32", [1]]], undefined, [300, 130]],
    ["FP8 E4M3, one scale per row", [["m.weight", "F8_E4M3", [300, 130]], ["m.weight_scale", "BF16", [300, 1]]], undefined, [300, 130]],
    ["FP8 E4M3, 128×128 blocks", [["m.weight", "F8_E4M3", [300, 130]], ["m.scale", "F8_E8M0", [3, 2]]], undefined, [300, 130]],
    ["FP8 E4M3, one scale per 32 columns", [["m.weight", "F8_E4M3", [300, 128]], ["m.scale", "F8_E8M0", [300, 4]]], undefined, [300, 128]],
    ["FP8 E4M3, one scale per row", [["m.weight", "F8_E4M3", [300, 130]], ["m.scale", "F32", [300]]], undefined, [300, 130]],
    ["FP8 E4M3, one scale per 128 rows", [["m.weight", "F8_E4M3", [300, 130]], ["m.scale", "F32", [3]]], undefined, [300, 130]],
    ["FP4 E2M1, one scale per 32 columns", [["m.weight", "I8", [300, 64]], ["m.scale", "F8_E8M0", [300, 4]]], undefined, [300, 128]],
    ["FP4 E2M1, one scale per 32 columns", [["m.weight_packed", "U8", [300, 64]], ["m.weight_scale", "U8", [300, 4]]], undefined, [300, 128]],
    ["INT4, one scale per 32 columns", [["m.weight_packed", "I32", [300, 16]], ["m.weight_scale", "BF16", [300, 4]], ["m.weight_shape", "I32", [2]]], undefined, [300, 128]],
    // As transformers lays it out when it dequantises: the packed rows are the columns of the plain tensor.
    ["FP4 E2M1, one scale per 32 columns", [["e.gate_up_proj_blocks", "U8", [4, 192, 2, 16]], ["e.gate_up_proj_scales", "U8", [4, 192, 2]]], undefined, [4, 64, 192], "e.gate_up_proj"]
  ])("%s: %j", (form, entries, config, shape, name = "m.weight") => {
    expect(seen([["norm.weight", "F32", [8]], ...entries], config)).toEqual([["norm.weight", "F32", [8], "plain"], [name, "BF16", shape, form]])
  })

  it("in the place of its codes, with the bytes of all that it is made of", () => {
    const { tensors } = hfWeightsOf(checkpoint([["a", "BF16", [2]], ["m.weight_scale_inv", "F32", [1, 1]], ["m.weight", "F8_E4M3", [3, 2]], ["z", "BF16", [2]]]))
    expect([...tensors.keys()]).toEqual(["a", "m.weight", "z"])
    expect(tensors.get("m.weight")!.bytes).toBe(10)
  })

  it("and nothing changes where nothing is quantised", () => {
    const plain = checkpoint([["a.weight", "BF16", [2]], ["router.scale", "BF16", [2]], ["mask", "U8", [4]], ["b.weight", "I8", [2, 2]]])
    const logical = hfWeightsOf(plain)
    expect(logical.tensors).toEqual(plain.tensors)
    expect(logical.quantized.size).toBe(0)
  })

  it("activation scales stay tensors, and know their weight", () => {
    const logical = hfWeightsOf(checkpoint([["m.weight", "F8_E4M3", [3, 2]], ["m.weight_scale", "F32", []], ["m.input_scale", "F32", []], ["n.input_scale", "F32", []]]))
    expect([...logical.activationScales]).toEqual([["m.input_scale", "m.weight"]])
    expect(logical.tensors.has("m.input_scale")).toBe(true)
  })
})

it("four-bit codes are read as elements of their own", () => {
  const logical = hfWeightsOf(checkpoint([["m.weight_packed", "I32", [4, 16]], ["m.weight_scale", "BF16", [4, 4]], ["m.weight_shape", "I32", [2]]]))
  const [copy] = readSpace(logical)(identity("m.weight", "y", [4, 128]))
  const stored = storedArray(logical.stored, "m.weight_packed")
  expect(stored).toMatchObject({ dtype: "I32", shape: [4, 16] })
  expect(copy!.source.tensor).toEqual({ ...stored, dtype: "F4", shape: [512] })
  expect(copy!.operands![0]!.tensor).toEqual(storedArray(logical.stored, "m.weight_scale"))
})

describe("refused, with the name of the tensor", () => {
  it.each<[code: string, tensor: string, entries: ReadonlyArray<Entry>]>([
    ["quantized/no-scales", "m.weight", [["m.weight", "F8_E4M3", [3, 2]]]],
    ["quantized/no-scales", "m.weight_packed", [["m.weight_packed", "I32", [3, 2]]]],
    ["quantized/no-scales", "e.x_blocks", [["e.x_blocks", "U8", [1, 2, 3, 16]]]],
    ["quantized/two-scales", "m.weight", [["m.weight", "F8_E4M3", [3, 2]], ["m.weight_scale_inv", "F32", []], ["m.weight_scale", "F32", []]]],
    ["quantized/scale-dtype", "m.weight_scale_inv", [["m.weight", "F8_E4M3", [3, 2]], ["m.weight_scale_inv", "I32", []]]],
    ["quantized/scale-shape", "m.weight_scale_inv", [["m.weight", "F8_E4M3", [300, 2]], ["m.weight_scale_inv", "F32", [2, 1]]]],
    ["quantized/scale-shape", "m.weight_scale_inv", [["m.weight", "F8_E4M3", [300, 2]], ["m.weight_scale_inv", "F32", [3]]]],
    ["quantized/scale-shape", "m.scale", [["m.weight", "I8", [3, 16]], ["m.scale", "U8", [2, 1]]]],
    ["quantized/scale-shape", "m.weight_scale", [["m.weight_packed", "I32", [3, 4]], ["m.weight_scale", "BF16", [3, 5]]]],
    ["quantized/scale-shape", "e.x_scales", [["e.x_blocks", "U8", [1, 2, 3, 16]], ["e.x_scales", "U8", [1, 2, 4]]]],
    ["quantized/packed-shape", "e.x_blocks", [["e.x_blocks", "U8", [2, 3, 8]], ["e.x_scales", "U8", [2, 3]]]],
    ["quantized/packed-shape", "e.x_blocks", [["e.x_blocks", "BF16", [1, 2, 3, 16]], ["e.x_scales", "U8", [1, 2, 3]]]],
    ["quantized/packed-dtype", "m.weight_packed", [["m.weight_packed", "F32", [3, 2]], ["m.weight_scale", "F32", [3, 1]]]],
    ["quantized/unsupported", "m.weight_packed", [["m.weight_packed", "I32", [3, 4]], ["m.weight_scale", "BF16", [3, 1]], ["m.weight_zero_point", "I32", [3, 1]]]],
    ["quantized/no-shape", "m.weight_packed", [["m.weight_packed", "I32", [3, 4]], ["m.weight_scale", "BF16", [3, 1]]]],
    ["quantized/stray-scales", "m.weight_scale_inv", [["m.weight_scale_inv", "F32", [1, 1]]]],
    ["quantized/stray-scales", "m.weight_scale_inv", [["m.weight", "BF16", [3, 2]], ["m.weight_scale_inv", "F32", [1, 1]]]],
    ["quantized/stray-scales", "m.weight_scale", [["m.weight", "BF16", [3, 2]], ["m.weight_scale", "F32", [1]]]],
    ["quantized/stray-scales", "e.x_scales", [["e.x", "BF16", [3, 2]], ["e.x_scales", "U8", [1]]]],
    ["quantized/twice", "m.weight", [["m.weight", "BF16", [3, 32]], ["m.weight_packed", "U8", [3, 16]], ["m.weight_scale", "BF16", [3, 1]]]]
  ])("%s: %s of %j", (code, tensor, entries) => {
    expect(refusal(entries)).toMatchObject({ code, tensor })
  })

  it("one of several activation scales missing, if activations are quantised statically", () => {
    const entries: ReadonlyArray<Entry> = ["m", "n"].flatMap((m) => [[`${m}.weight`, "F8_E4M3", [3, 2]], [`${m}.weight_scale`, "F32", []]] as const)
    const config = { quantization_config: { activation_scheme: "static" } }
    expect(refusal([...entries, ["m.input_scale", "F32", []]], config)).toMatchObject({ code: "quantized/no-activation-scale", tensor: "n.input_scale" })
    expect(seen([...entries, ["m.input_scale", "F32", []]])).toHaveLength(3)
  })

  it("says what was expected", () => {
    expect(refusal([["m.weight", "F8_E4M3", [300, 130]], ["m.weight_scale_inv", "F32", [2, 3]]]).problem).toBe("[2,3] are no scales for m.weight [300,130]")
    expect(refusal([["m.weight", "BF16", [3, 2]], ["m.weight_scale_inv", "F32", [1, 1]]]).problem).toBe("stands beside m.weight, which holds BF16 values and needs no scales")
  })

  it("a block size that is none, with its place in config.json", () => {
    expect(refusal([], { text_config: { quantization_config: { weight_block_size: [0, 128] } } })).toMatchObject({
      code: "quantized/config",
      field: "text_config.quantization_config.weight_block_size"
    })
  })

  it("a quantised tensor whose values would be changed once more", () => {
    const logical = hfWeightsOf(checkpoint([["m.weight", "F8_E4M3", [3, 2]], ["m.weight_scale", "F32", []]]))
    expect(() => readSpace(logical)({ ...identity("m.weight", "y", [3, 2]), transform: { kind: "add", constant: -1 } })).toThrow(/m\.weight.*is quantised/)
  })
})
