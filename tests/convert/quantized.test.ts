/** A model whose weights are quantised in every form there is: to Megatron as values, and back as values or as it was. */
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { bind } from "../../src/bridge/Conversion.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { Disk, exportCheckpoint, importCheckpoint, verifyCheckpoint } from "../../src/index.ts"
import { standardModules } from "../../src/mimo/routes.ts"
import { readSafetensors, type TensorToWrite, writeSafetensors } from "../../src/safetensors/effect.ts"
import { volume } from "../../src/tensor/Copy.ts"
import { bytesOf, type DType } from "../../src/tensor/DType.ts"
import { valuesOf } from "../../src/tensor/kernels/codes.ts"
import { type Random, random } from "../tensor/random.ts"

const work = mkdtempSync(join(tmpdir(), "quantized-"))
const hf = join(work, "hf")
const run = <A, E>(effect: Effect.Effect<A, E, Disk>) => Effect.runPromise(effect.pipe(Effect.provide(Disk.layer)))
let number = 0
const fresh = () => join(work, `out-${number++}`)

/** No width is a multiple of 128, and heads and tensor-parallel pieces begin inside blocks. */
const config = {
  architectures: ["Qwen3ForCausalLM"],
  model_type: "qwen3",
  attention_bias: false,
  head_dim: 32,
  hidden_act: "silu",
  hidden_size: 160,
  intermediate_size: 288,
  max_position_embeddings: 1024,
  num_attention_heads: 6,
  num_hidden_layers: 2,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 10000.5,
  tie_word_embeddings: false,
  torch_dtype: "bfloat16",
  vocab_size: 96,
  quantization_config: { quant_method: "fp8", weight_block_size: [128, 128], modules_to_not_convert: ["lm_head"] }
}

const scratch = new Float32Array(1)
const bits = new Uint32Array(scratch.buffer)
/** Round to BF16, to nearest and ties to even, and give the number. */
const rounded = (x: number): number => {
  scratch[0] = x
  const [b] = bits
  bits[0] = ((b! + 0x7fff + ((b! >>> 16) & 1)) & 0xffff0000) >>> 0
  return scratch[0]!
}
const bf16 = (values: ReadonlyArray<number>): Uint8Array =>
  new Uint8Array(Uint16Array.from(values, (x) => { scratch[0] = rounded(x); return bits[0]! >>> 16 }).buffer)

interface Quantised {
  readonly stored: ReadonlyArray<TensorToWrite>
  /** What it means, computed one element after the other. */
  readonly values: Uint8Array
}

const tensor = (name: string, dtype: DType, shape: ReadonlyArray<number>, data: Uint8Array): TensorToWrite => {
  expect(data.byteLength).toBe(volume(shape) * bytesOf(dtype))
  return { name, dtype, shape, data }
}

const codesIn = (next: Random, count: number): Uint8Array => Uint8Array.from({ length: count }, () => { const c = next(256); return (c & 0x7f) === 0x7f ? c - 1 : c })
const scalesIn = (next: Random, count: number): Float32Array => Float32Array.from({ length: count }, () => (1 + next(1000)) / 10007)
const nibbles = (codes: Uint8Array): Array<number> => [...codes].flatMap((c) => [c & 15, c >> 4])
const f32 = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer)

type Form = (next: Random, name: string, shape: readonly [number, number]) => Quantised

const forms: Readonly<Record<string, Form>> = {
  blocks: (next, name, [R, C]) => {
    const [codes, across] = [codesIn(next, R * C), Math.ceil(C / 128)]
    const scales = scalesIn(next, Math.ceil(R / 128) * across)
    return {
      stored: [tensor(name, "F8_E4M3", [R, C], codes), tensor(`${name}_scale_inv`, "F32", [Math.ceil(R / 128), across], f32(scales))],
      values: bf16([...codes].map((c, i) => valuesOf("e4m3")[c]! * scales[Math.floor(i / C / 128) * across + Math.floor((i % C) / 128)]!))
    }
  },
  whole: (next, name, [R, C]) => {
    const codes = codesIn(next, R * C)
    const scale = scalesIn(next, 1)
    return {
      stored: [
        tensor(name, "F8_E4M3", [R, C], codes),
        tensor(`${name}_scale_inv`, "F32", [], f32(scale)),
        tensor(name.replace(/weight$/, "activation_scale"), "BF16", [], bf16([0.5]))
      ],
      // In BF16 arithmetic: the scale is rounded before it is used.
      values: bf16([...codes].map((c) => valuesOf("e4m3")[c]! * rounded(scale[0]!)))
    }
  },
  exponents: (next, name, [R, C]) => {
    const [codes, groups] = [codesIn(next, R * C), C / 32]
    const scales = Uint8Array.from({ length: R * groups }, () => 120 + next(12))
    return {
      stored: [tensor(name, "F8_E4M3", [R, C], codes), tensor(name.replace(/weight$/, "scale"), "F8_E8M0", [R, groups], scales)],
      values: bf16([...codes].map((c, i) => valuesOf("e4m3")[c]! * 2 ** (scales[Math.floor(i / 32)]! - 127)))
    }
  },
  fp4: (next, name, [R, C]) => {
    const [codes, groups] = [Uint8Array.from({ length: (R * C) / 2 }, () => next(256)), C / 32]
    const scales = Uint8Array.from({ length: R * groups }, () => 120 + next(12))
    return {
      stored: [tensor(name, "I8", [R, C / 2], codes), tensor(name.replace(/weight$/, "scale"), "U8", [R, groups], scales)],
      values: bf16(nibbles(codes).map((c, i) => valuesOf("e2m1")[c]! * 2 ** (scales[Math.floor(i / 32)]! - 127)))
    }
  },
  int4: (next, name, [R, C]) => {
    const [codes, groups] = [Uint8Array.from({ length: (R * C) / 2 }, () => next(256)), C / 32]
    const scales = scalesIn(next, R * groups).map(rounded)
    return {
      stored: [
        tensor(`${name}_packed`, "I32", [R, C / 8], codes),
        tensor(`${name}_scale`, "BF16", [R, groups], bf16([...scales])),
        tensor(`${name}_shape`, "I32", [2], new Uint8Array(Int32Array.of(R, C).buffer))
      ],
      values: bf16(nibbles(codes).map((c, i) => (c - 8) * scales[Math.floor(i / 32)]!))
    }
  }
}

const values = new Map<string, Uint8Array>()
let quantised = 0

beforeAll(async () => {
  const family = families.find(config)
  const { hf: tensors } = bind(standardModules(family.describe(family.schema.parse(config), noHeaders)))
  const next = random(2)
  const stored: Array<TensorToWrite> = []
  for (const { name, shape } of tensors.values()) {
    if (!name.includes(".layers.") || shape.length !== 2) {
      const data = bf16(Array.from({ length: volume(shape) }, () => next(1000) / 777))
      stored.push(tensor(name, "BF16", shape, data))
      values.set(name, data)
      continue
    }
    const form = Object.values(forms)[quantised++ % Object.keys(forms).length]!
    const made = form(next, name, shape as readonly [number, number])
    stored.push(...made.stored)
    values.set(name, made.values)
  }
  mkdirSync(hf)
  writeFileSync(join(hf, "config.json"), `${JSON.stringify(config, undefined, 2)}\n`)
  await run(writeSafetensors(join(hf, "model.safetensors"), stored, new Map([["format", "pt"]])))
})
afterAll(() => rmSync(work, { recursive: true }))

const contents = (directory: string) => new Map(readdirSync(directory).sort().map((f) => [f, createHash("sha256").update(readFileSync(join(directory, f))).digest("hex")]))
const tensorsIn = async (directory: string) => (await run(readSafetensors(join(directory, "model.safetensors")))).tensors
const exportedConfig = (directory: string) => JSON.parse(readFileSync(join(directory, "config.json"), "utf8")) as typeof config

const layouts = [["tp=1", {}], ["tp=2", { tp: 2 }], ["pp=2", { pp: 2 }]] as const

describe.each(layouts)("with %s", (_, layout) => {
  const model = { hfModel: hf, standard: true, ...layout } as const
  const megatron = fresh()
  beforeAll(() => importCheckpoint(model, megatron))

  it("Megatron holds what codes and scales mean", async () => {
    expect(await verifyCheckpoint(model, megatron)).toMatchObject({ equal: values.size + activationScales, total: values.size + activationScales })
  })

  it("export writes values under the plain names, and config.json says nothing of quantisation", async () => {
    const exported = fresh()
    const report = await exportCheckpoint(model, megatron, exported)
    const tensors = await tensorsIn(exported)
    expect([...tensors.keys()].sort()).toEqual([...values.keys()].sort())
    for (const [name, data] of values) {
      expect(tensors.get(name)!.dtype).toBe("BF16")
      expect(Buffer.compare(tensors.get(name)!.data, data), name).toBe(0)
    }
    expect(exportedConfig(exported).quantization_config).toBeUndefined()
    expect(report.quantized!.dequantized).toHaveLength(quantised)
    expect(report.leftBehind.map((l) => l.tensor)).toContainEqual(expect.stringMatching(/^hf_source\..*\.activation_scale$/))
  })

  it("with restoreQuantized the directory is byte for byte what it was", async () => {
    const exported = fresh()
    const report = await exportCheckpoint(model, megatron, exported, { restoreQuantized: true })
    expect(contents(exported)).toEqual(contents(hf))
    expect(report.quantized).toMatchObject({ dequantized: [], restored: { length: quantised } })
  })
})

const activationScales = 3

describe("after training", () => {
  /** A checkpoint of the same model in which one value of one tensor has changed by its last bit. */
  const trained = async (name: string, torchDtype: "source" | "float32" = "source") => {
    const [plain, megatron, changed] = [fresh(), fresh(), fresh()]
    await importCheckpoint({ hfModel: hf, standard: true }, megatron)
    await exportCheckpoint({ hfModel: hf, standard: true }, megatron, plain, { torchDtype })
    const path = join(plain, "model.safetensors")
    const tensors = [...(await tensorsIn(plain))].map(([n, t]) => ({ ...t, name: n, data: n === name ? t.data.map((b, i) => i === 8 ? b ^ 1 : b) : t.data }))
    rmSync(path)
    await run(writeSafetensors(path, tensors))
    await importCheckpoint({ hfModel: plain, standard: true }, changed)
    return { megatron: changed, tensors }
  }

  it.each(["model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight"])("a changed %s is written as values, the others as they were", async (name) => {
    const { megatron, tensors } = await trained(name)
    const exported = fresh()
    const report = await exportCheckpoint({ hfModel: hf, standard: true }, megatron, exported, { restoreQuantized: true })
    expect(report.quantized!.dequantized).toEqual([name])
    const [before, after] = [await tensorsIn(hf), await tensorsIn(exported)]
    const module = name.replace(/\.weight$/, "")
    const own = [...before.keys()].filter((n) => n.startsWith(module))
    expect([...after.keys()].sort()).toEqual([...[...before.keys()].filter((n) => !own.includes(n)), name].sort())
    for (const [n, t] of after) {
      const expected = n === name ? { dtype: "BF16", data: tensors.find((o) => o.name === name)!.data } : before.get(n)!
      expect(t.dtype).toBe(expected.dtype)
      expect(Buffer.compare(t.data, expected.data), n).toBe(0)
    }
    expect(exportedConfig(exported).quantization_config).toEqual({ ...config.quantization_config, modules_to_not_convert: ["lm_head", module] })
    // What is half quantised can be read again.
    const again = fresh()
    await importCheckpoint({ hfModel: exported, standard: true }, again)
    expect((await verifyCheckpoint({ hfModel: exported, standard: true }, megatron)).tensors.filter((t) => t.status === "different")).toEqual([])
  })

  it("verify names the changed tensor", async () => {
    const { megatron } = await trained("model.layers.0.mlp.up_proj.weight")
    const report = await verifyCheckpoint({ hfModel: hf, standard: true }, megatron)
    expect(report.tensors.filter((t) => t.status === "different")).toMatchObject([{ name: "model.layers.0.mlp.up_proj.weight", differing: 1 }])
  })

  it("an FP32 checkpoint may hold the values exactly; one that differs by less than BF16 can tell has changed", async () => {
    const megatron = fresh()
    await importCheckpoint({ hfModel: hf, standard: true }, megatron, { torchDtype: "float32" })
    const untouched = await exportCheckpoint({ hfModel: hf, standard: true }, megatron, fresh(), { restoreQuantized: true })
    expect(untouched.quantized).toMatchObject({ dequantized: [], restored: { length: quantised } })
    const name = "model.layers.1.self_attn.o_proj.weight"
    const report = await exportCheckpoint({ hfModel: hf, standard: true }, (await trained(name, "float32")).megatron, fresh(), { restoreQuantized: true })
    expect(report.quantized!.dequantized).toEqual([name])
  })
})

describe("refused", () => {
  it("restoring from an original that is not quantised", async () => {
    const [megatron, plain] = [fresh(), fresh()]
    await importCheckpoint({ hfModel: hf, standard: true }, megatron)
    await exportCheckpoint({ hfModel: hf, standard: true }, megatron, plain)
    await expect(exportCheckpoint({ hfModel: plain, standard: true }, megatron, fresh(), { restoreQuantized: true })).rejects.toMatchObject({
      _tag: "UsageError",
      message: expect.stringContaining("--restore-quantized: --hf-model holds no quantised tensors")
    })
  })

  it("codes without scales, naming file and tensor", async () => {
    const directory = fresh()
    mkdirSync(directory)
    writeFileSync(join(directory, "config.json"), JSON.stringify(config))
    const tensors = [...(await tensorsIn(hf))].filter(([n]) => n !== "model.layers.0.self_attn.q_proj.weight_scale_inv").map(([name, t]) => ({ ...t, name }))
    await run(writeSafetensors(join(directory, "model.safetensors"), tensors))
    await expect(importCheckpoint({ hfModel: directory, standard: true }, fresh())).rejects.toMatchObject({
      _tag: "InvalidFile",
      code: "quantized/no-scales",
      path: join(directory, "model.safetensors"),
      place: { tensor: "model.layers.0.self_attn.q_proj.weight" }
    })
  })
})
