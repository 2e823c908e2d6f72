/** A checkpoint in other words: what changes, what does not, and what has no other words. */
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { copyFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Layer } from "effect"
import { beforeAll, describe, expect, it } from "vitest"
import { verifyMegatron } from "../../src/verify/verify.ts"
import { verifyDeep } from "../../src/verify/deep/deep.ts"
import { decodeChecksums } from "../../src/publish/integrity/Checksums.ts"
import { Disk, exportCheckpoint, families, resolveLayout } from "../../src/index.ts"
import { diskError, type DiskCalls, nodeCalls } from "../../src/io/Disk.ts"
import { prepareRelabel } from "../../src/relabel/relabel.ts"
import { openSpace } from "../../src/space/openSpace.ts"
import { inspection } from "../../src/inspect/Inspection.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { readArchive } from "../../src/torch/ObjectItem.ts"
import { archiveOf } from "../../src/torch/ZipWriter.ts"
import {
  caseModel, dataFiles, folderOf, fresh, imported, metadataOf, relabelled, run, sampleModel, workDirectory
} from "./checkpoints.ts"
import { treeOf } from "../trees.ts"
import { makeTrained, wrapped } from "./trained.ts"

const work = workDirectory("relabel")
let vlm: string
let standard: string
let mimo: string

beforeAll(async () => {
  vlm = await sampleModel(work)
  standard = await imported(work, { hfModel: vlm, standard: true, tp: 2 })
  mimo = await imported(work, { hfModel: vlm, components: ["language=tp=2,pp=2", "images=tp=1"] })
})

const sameData = (a: string, b: string) => {
  expect([...dataFiles(b).keys()]).toEqual([...dataFiles(a).keys()])
  for (const [name, bytes] of dataFiles(a)) expect(dataFiles(b).get(name)!.equals(bytes), name).toBe(true)
}

const equalTensors = async (a: string, b: string) => {
  const report = await run(verifyMegatron(a, b, {}))
  expect(report.tensors.filter((t) => t.status !== "equal")).toEqual([])
  return report.total
}

const text = (path: string, name: string) => readFileSync(join(folderOf(path), name), "utf8")

describe("standard ↔ MIMO", () => {
  it("there and back gives every byte: data files, .metadata, run_config.yaml", async () => {
    const there = await relabelled(work, standard, ["mimo"])
    const back = await relabelled(work, there.path, ["standard"])
    sameData(standard, there.path)
    sameData(standard, back.path)
    expect(text(there.path, ".metadata")).not.toBe(text(standard, ".metadata"))
    expect(text(back.path, ".metadata")).toBe(text(standard, ".metadata"))
    expect(text(back.path, "run_config.yaml")).toBe(text(standard, "run_config.yaml"))
    expect(there.report.written).toEqual([])
  })

  it("and from the other side", async () => {
    const there = await relabelled(work, mimo, ["standard"])
    const back = await relabelled(work, there.path, ["mimo"])
    sameData(mimo, back.path)
    expect(text(back.path, ".metadata")).toBe(text(mimo, ".metadata"))
  })

  it("equals, tensor by tensor, what an import gives", async () => {
    const { path } = await relabelled(work, standard, ["mimo"])
    expect(await equalTensors(path, mimo)).toBe(98)
    expect([...metadataOf(path).objects.keys()].sort()).toEqual([...metadataOf(mimo).objects.keys()].sort())
  })

  it("and exports to the model it came from", async () => {
    const { path } = await relabelled(work, standard, ["mimo"])
    const out = fresh(work)
    await exportCheckpoint({ hfModel: vlm }, path, out)
    expect(treeOf(out)).toEqual(treeOf(vlm))
  })

  it("the run configuration gets a MIMO provider around the model, without multi-token prediction", async () => {
    const { path, report } = await relabelled(work, standard, ["mimo"])
    const config = text(path, "run_config.yaml")
    expect(config).toContain("_target_: megatron.bridge.models.megatron_mimo.megatron_mimo_provider.MegatronMIMOProvider")
    expect(config).toMatch(/standard_provider:\n {4}_target_: megatron\.bridge\.models\.[\w.]+Qwen35VLModelProvider/)
    expect(config).toContain("mtp_num_layers: null")
    expect(config).toContain("layernorm_epsilon: 1.0e-06")
    expect(report.notes.join()).toContain("MIMO models have no multi-token-prediction module")
  })

  it("--hf-model says what the run configuration does not", async () => {
    const { path } = await relabelled(work, standard, ["mimo"])
    rmSync(join(folderOf(path), "run_config.yaml"))
    await expect(relabelled(work, path, ["standard"])).rejects.toThrow("--to standard: nothing says which parts of the model are components")
    const back = await relabelled(work, path, ["standard"], { hfModel: vlm })
    expect(text(back.path, ".metadata")).toBe(text(standard, ".metadata"))
    expect(text(back.path, "run_config.yaml")).toContain("Qwen35VLModelProvider")
  })

  it("refuses what it is already", async () => {
    await expect(relabelled(work, standard, ["standard"])).rejects.toThrow("the checkpoint is a standard one already")
    await expect(relabelled(work, mimo, ["mimo"])).rejects.toThrow("the checkpoint is a MIMO one already")
  })

  it("refuses tensors that belong to no component", async () => {
    const strange = (await relabelled(work, standard, ["mimo"])).path
    const { className, objects, tensors } = metadataOf(strange)
    const [[key, tensor]] = tensors as unknown as [[string, never]]
    writeFileSync(join(folderOf(strange), ".metadata"), encodeMetadata({ className, objects, tensors: new Map([...tensors].map(([k, t]) => (k === key ? ["modality_submodules.audio.encoders.x.weight", tensor] : [k, t]))) }))
    await expect(relabelled(work, strange, ["standard"])).rejects.toThrow("the standard model has no place for these tensors: modality_submodules.audio")
  })
})

describe("a trained MIMO checkpoint", () => {
  let trained: string
  beforeAll(() => {
    trained = fresh(work)
    makeTrained(mimo, trained)
  })

  it("is inspected: wrapped keys, optimizer and RNG state apart from the model", async () => {
    const found = inspection(await run(openSpace(trained)))
    const clean = inspection(await run(openSpace(mimo)))
    expect(found.form).toBe("mimo")
    expect(found.totals.tensors).toBe(clean.totals.tensors)
    expect(found.totals.bytes).toBe(clean.totals.bytes)
    expect(found.components).toEqual(clean.components)
    expect(found.training.tensors).toBe(3 * clean.tensors.filter((t) => t.role === "model").length)
    expect(found.findings.map((f) => f.code)).toEqual(expect.arrayContaining(["wrapped", "training-state"]))
    expect(new Map(found.common).get("iteration")).toBe("10")
  })

  it("is mended with links: the clean one's keys, no byte copied, optimizer states follow", async () => {
    const { path, report } = await relabelled(work, trained, ["plain"], { link: true })
    const [after, clean] = [metadataOf(path), metadataOf(mimo)]
    for (const key of clean.tensors.keys()) expect(after.tensors.get(key), key).toEqual(clean.tensors.get(key))
    for (const key of clean.tensors.keys()) if (!key.startsWith("hf_source.")) expect(after.tensors.has(`optimizer.state.exp_avg.${key}`), key).toBe(true)
    expect([...after.tensors.keys()].some((key) => key.includes(".module."))).toBe(false)
    expect([...after.objects.keys()]).toEqual(expect.arrayContaining(["rng_state.language/shard_0.0_1.1", "common_state/shard_0_1"]))
    expect(report.linked).toBe(dataFiles(trained).size)
    for (const name of dataFiles(path).keys()) expect(statSync(join(folderOf(path), name)).ino).toBe(statSync(join(folderOf(trained), name)).ino)
    expect(folderOf(path)).toMatch(/iter_0000010$/)
    expect(readFileSync(join(path, "latest_checkpointed_iteration.txt"), "utf8")).toBe("10")
    expect(await equalTensors(path, mimo)).toBe(98)
  })

  it("is exported byte-identically to the clean one, mended or not", async () => {
    const { path } = await relabelled(work, trained, ["plain"])
    const outs = [fresh(work), fresh(work), fresh(work)] as const
    await exportCheckpoint({ hfModel: vlm }, mimo, outs[0])
    await exportCheckpoint({ hfModel: vlm }, trained, outs[1])
    await exportCheckpoint({ hfModel: vlm }, path, outs[2])
    expect(treeOf(outs[1])).toEqual(treeOf(outs[0]))
    expect(treeOf(outs[2])).toEqual(treeOf(outs[0]))
  })

  it("goes to the standard form without its wrappers, and says what stays behind", async () => {
    const { path, report } = await relabelled(work, trained, ["standard"])
    expect(await equalTensors(path, standard)).toBe(98)
    expect(report.notes.join()).toContain("belong to the old model's ranks")
  })

  it("plain and ddp are opposites", async () => {
    const plain = await relabelled(work, trained, ["plain"])
    const again = await relabelled(work, plain.path, ["ddp"])
    expect(text(again.path, ".metadata")).toBe(text(trained, ".metadata"))
    await expect(relabelled(work, mimo, ["plain"])).rejects.toThrow("no key carries module.")
    await expect(relabelled(work, trained, ["ddp"])).rejects.toThrow("the keys carry module. already")
    await expect(relabelled(work, standard, ["ddp"])).rejects.toThrow("saved without wrappers")
    expect(wrapped("language_model.output_layer.weight")).toBe("language_model.module.output_layer.weight")
  })
})

describe("layers and experts", () => {
  let moe: string
  beforeAll(async () => {
    moe = await imported(work, { hfModel: await caseModel(work, "qwen3-moe-a"), standard: true })
  })

  it.each([
    ["indexed", ["indexed"], ["stacked"]],
    ["sequential", ["sequential"], ["grouped", "stacked"]],
    ["hybrid", ["hybrid"], ["gpt"]]
  ] as const)("%s and back: the same data files, byte for byte", async (_, to, back) => {
    const there = await relabelled(work, moe, to)
    const again = await relabelled(work, there.path, back)
    expect(text(again.path, ".metadata")).toBe(text(moe, ".metadata"))
    sameData(moe, again.path)
  })

  it("stacked layers become one key each, their items lose the layer axis", async () => {
    const { path, report } = await relabelled(work, moe, ["indexed"])
    const { objects, tensors } = metadataOf(path)
    expect(tensors.get("decoder.layers.2.self_attention.linear_proj.weight")!.shape).toEqual([64, 64])
    expect(tensors.has("decoder.layers.self_attention.linear_proj.weight")).toBe(false)
    expect(objects.has("decoder.layers.2.self_attention.linear_proj._extra_state/shard_0_1")).toBe(true)
    expect(objects.has("decoder.layers.1.mlp.experts.experts.linear_fc1._extra_state/shard_3_4")).toBe(true)
    expect(report.written).toEqual(["__0_0.distcp"])
    expect(contentOf(path)).toMatchObject([["singleton_local_shards", false], ["chained_optim_avoid_prefix", true], ["non_homogeneous_layers", true]])
  })

  it("sequential experts: one key each, gate and up rows apart", async () => {
    const { path } = await relabelled(work, moe, ["sequential"])
    const { objects, tensors } = metadataOf(path)
    expect(tensors.get("decoder.layers.1.mlp.experts.experts.3.linear_fc1.weight_v")!.shape).toEqual([40, 64])
    expect(tensors.get("decoder.layers.1.mlp.experts.experts.3.linear_fc2.weight")!.shape).toEqual([64, 40])
    expect(objects.has("decoder.layers.1.mlp.experts.experts.3.linear_fc1._extra_state/shard_0_1")).toBe(true)
    expect(contentOf(path)).toContainEqual(["singleton_local_shards", true])
  })

  it("a hybrid model has a layer for attention and one for the experts", async () => {
    const { path } = await relabelled(work, moe, ["hybrid"])
    const { objects, tensors } = metadataOf(path)
    expect(tensors.has("decoder.layers.4.self_attention.linear_qkv.weight")).toBe(true)
    expect(tensors.has("decoder.layers.5.mlp.router.weight")).toBe(true)
    expect(tensors.has("decoder.final_norm.weight")).toBe(true)
    expect(objects.has("output_layer._extra_state/shard_0_1")).toBe(true)
    expect(text(path, "run_config.yaml")).toMatch(/hybrid_layer_pattern: "\*E\*E\*E"/)
    expect(text(path, "run_config.yaml")).toContain("num_layers: 6")
  })

  it("what a rank cut stays cut", async () => {
    const cut = await imported(work, { hfModel: await caseModel(work, "qwen3-moe-a"), standard: true, tp: 2 })
    const there = await relabelled(work, cut, ["sequential"])
    expect(metadataOf(there.path).tensors.get("decoder.layers.0.mlp.experts.experts.0.linear_fc1.weight_w")!.chunks).toHaveLength(1)
    expect(metadataOf(there.path).tensors.get("decoder.layers.0.self_attention.linear_qkv.weight")!.chunks).toHaveLength(2)
    const back = await relabelled(work, there.path, ["grouped", "stacked"])
    await equalTensors(back.path, cut)
  })

  it("optimizer states take the same form as their tensors", async () => {
    const trained = fresh(work)
    makeTrained(mimo, trained)
    const { path } = await relabelled(work, trained, ["indexed"])
    const { tensors } = metadataOf(path)
    const key = "modality_submodules.images.module.encoders.qwen_visual.decoder.layers.1.mlp.linear_fc1.weight"
    expect(tensors.get(`optimizer.state.exp_avg.${key}`)!.shape).toEqual(tensors.get(key)!.shape)
    const back = await relabelled(work, path, ["plain"])
    await equalTensors(back.path, path)
  })

  it.each([
    [["stacked"], "no layers of a transformer block are stored one by one"],
    [["grouped"], "no expert and no gated projection is stored by itself"],
    [["gpt"], "the checkpoint is no hybrid one"],
    [["extra-states"], "none is missing"],
    [["mtp-model-layer"], "no multi-token-prediction layer is called transformer_layer"],
    [["mimo"], "the model has a single component, and no MIMO form"]
  ] as const)("--to %s is refused with the reason", async (to, reason) => {
    await expect(relabelled(work, moe, to)).rejects.toThrow(reason)
  })

  it.each([
    [["stacked"], "the layers are not alike"],
    [["hybrid"], "only plain language models have both forms"]
  ] as const)("of a multimodal model with two kinds of layers, --to %s is refused", async (to, reason) => {
    await expect(relabelled(work, mimo, to)).rejects.toThrow(reason)
  })

  it("layers that the configuration wants one by one are not stacked", async () => {
    const { path } = await relabelled(work, moe, ["indexed"])
    const file = join(folderOf(path), "run_config.yaml")
    writeFileSync(file, readFileSync(file, "utf8").replace("  num_layers: 3", "  moe_layer_freq: [1, 1, 1]\n  num_layers: 3"))
    await expect(relabelled(work, path, ["stacked"])).rejects.toThrow("by its run configuration the model asks for indexed layers (moe_layer_freq is [1,1,1])")
  })

  it("a hybrid model with Mamba layers, latent attention or multi-token prediction has no GPT form", async () => {
    const hybrid = await imported(work, { hfModel: await caseModel(work, "nemotron-h-a"), standard: true })
    await expect(relabelled(work, hybrid, ["gpt"])).rejects.toThrow("Mamba layers has no counterpart")
    const latent = await imported(work, { hfModel: await caseModel(work, "deepseek-v3-a"), standard: true })
    await expect(relabelled(work, latent, ["hybrid"])).rejects.toThrow("has no counterpart")
  })

  it("the inner layer of multi-token prediction has two names", async () => {
    const mtp = await imported(work, { hfModel: await caseModel(work, "deepseek-v3-a"), standard: true })
    const there = await relabelled(work, mtp, ["mtp-model-layer"])
    expect([...metadataOf(there.path).tensors.keys()].some((key) => key.startsWith("mtp.layers.0.mtp_model_layer.mlp"))).toBe(true)
    const back = await relabelled(work, there.path, ["mtp-transformer-layer"])
    expect(text(back.path, ".metadata")).toBe(text(mtp, ".metadata"))
    sameData(mtp, back.path)
  })

  it("a common state with Python objects in it keeps them; only the flags change", async () => {
    const copy = (await relabelled(work, moe, ["indexed"])).path
    // A dict with an argparse.Namespace and {"content_metadata": {"non_homogeneous_layers": True}}.
    const pickle = Buffer.from(
      "\x80\x02}(X\x04\x00\x00\x00argscargparse\nNamespace\n)\x81X\x10\x00\x00\x00content_metadata}X\x16\x00\x00\x00non_homogeneous_layers\x88su.", "latin1")
    writeFileSync(join(folderOf(copy), "common.pt"), commonOf(pickle))
    const { path } = await relabelled(work, copy, ["stacked"])
    const common = readArchive(readFileSync(join(folderOf(path), "common.pt"))) as ReadonlyMap<string, unknown>
    expect([...common.keys()]).toEqual(["args", "content_metadata"])
    expect(common.get("args")).toMatchObject({ module: "argparse", name: "Namespace" })
    expect(common.get("content_metadata")).toEqual(new Map())
  })
})

describe("module states", () => {
  it("missing ones are supplied as one shared item, the data is linked", async () => {
    const bare = (await relabelled(work, mimo, ["standard"])).path
    const { className, objects, tensors } = metadataOf(bare)
    const kept = new Map([...objects].filter(([key]) => !key.includes("_extra_state")))
    writeFileSync(join(folderOf(bare), ".metadata"), encodeMetadata({ className, tensors, objects: kept }))
    const { path, report } = await relabelled(work, bare, ["extra-states"], { link: true })
    const after = metadataOf(path).objects
    for (const key of objects.keys()) expect(after.has(key), key).toBe(true)
    expect(report.supplied).toBe(after.size - kept.size)
    expect(new Set([...after].filter(([key]) => key.includes("_extra_state")).map(([, o]) => `${o.file}:${o.offset}`)).size).toBe(1)
    expect(report.written).toHaveLength(1)
  })
})

describe("checksums", () => {
  const sumsOf = (path: string) => decodeChecksums("x", readFileSync(join(folderOf(path), ".checksums.json")))

  it.each([["copied", false], ["linked", true]] as const)("of %s files are the source's, tensors under their new names", async (_, link) => {
    const { path, report } = await relabelled(work, standard, ["mimo"], { link })
    const [before, after] = [sumsOf(standard), sumsOf(path)]
    const isData = (f: { readonly name: string }) => f.name.endsWith(".distcp")
    expect(after.files.filter(isData)).toEqual(before.files.filter(isData))
    expect(after.tensors.map(({ begin, crc32, end, file }) => ({ begin, crc32, end, file }))).toEqual(before.tensors.map(({ begin, crc32, end, file }) => ({ begin, crc32, end, file })))
    expect(new Set(after.tensors.map((t) => t.name))).toEqual(new Set(metadataOf(path).tensors.keys()))
    expect(report.notes.join()).not.toContain(".checksums.json")
    expect(await run(verifyDeep(path))).toMatchObject({ against: "checksums", damages: [], notes: [] })
  })

  it("verify --deep names a damaged tensor as it is called now", async () => {
    const { path } = await relabelled(work, standard, ["mimo"])
    const span = sumsOf(path).tensors.find((t) => t.name === "language_model.output_layer.weight")!
    const file = join(folderOf(path), span.file)
    const bytes = readFileSync(file)
    bytes[span.begin]! ^= 1
    writeFileSync(file, bytes)
    expect((await run(verifyDeep(path))).damages).toMatchObject([{ tensors: ["language_model.output_layer.weight"], bit: { byte: span.begin, bit: 0 } }])
  })

  it("of files that are written anew are new", async () => {
    const { path } = await relabelled(work, mimo, ["indexed"])
    expect(await run(verifyDeep(path))).toMatchObject({ against: "checksums", damages: [], notes: [] })
    const names = new Set(sumsOf(path).tensors.map((t) => t.name))
    for (const key of metadataOf(path).tensors.keys()) expect(names.has(key), key).toBe(true)
  })

  it("are not made up for a checkpoint that has none", async () => {
    const trained = fresh(work)
    makeTrained(mimo, trained)
    const { path } = await relabelled(work, trained, ["plain"], { link: true })
    expect(treeOf(folderOf(path)).has(".checksums.json")).toBe(false)
    expect(await run(verifyDeep(path))).toMatchObject({ against: "items", damages: [] })
  })

  it("that are damaged are left behind, and that is said", async () => {
    const source = (await relabelled(work, standard, ["mimo"])).path
    writeFileSync(join(folderOf(source), ".checksums.json"), "{}")
    const { path, report } = await relabelled(work, source, ["standard"])
    expect(report.notes.join()).toContain(".checksums.json is left behind: the checksums themselves are damaged")
    expect(treeOf(folderOf(path)).has(".checksums.json")).toBe(false)
  })
})

describe("unchanged files", () => {
  /** The real disk, where a call is replaced. */
  const onDisk = (calls: Partial<DiskCalls>, link: boolean, more: { readonly resume?: boolean; readonly target?: string } = {}) => {
    const target = more.target ?? fresh(work)
    return Effect.runPromise(
      prepareRelabel(families, standard, { to: ["mimo"], layout: (names) => resolveLayout([], names) }).pipe(
        Effect.flatMap((p) => p.run(target, { link, overwrite: false, resume: more.resume ?? false })),
        Effect.map((report) => ({ report, target })),
        Effect.provide(Layer.succeed(Disk, { ...nodeCalls, ...calls }))
      )
    )
  }
  const refuse = (operation: "link" | "clone", errno: string) => async (from: string, to: string) => {
    // Locks are links as well.
    if (to.endsWith(".distcp")) throw diskError(to, operation, errno)
    return nodeCalls[operation](from, to)
  }
  const count = () => dataFiles(standard).size

  it("share their blocks where the file system can", async () => {
    const { report, target } = await onDisk({ clone: (from, to) => copyFile(from, to) }, false)
    expect(report).toMatchObject({ linked: 0, cloned: count() })
    expect(report.writtenBytes).toBeLessThan(report.dataBytes)
    sameData(standard, target)
    expect(await run(verifyDeep(target))).toMatchObject({ damages: [], notes: [] })
  })

  it.each(["EXDEV", "ENOTSUP", "EINVAL", "ENOTTY"])("are copied where it cannot (%s)", async (errno) => {
    const { report, target } = await onDisk({ link: refuse("link", "EXDEV"), clone: refuse("clone", errno) }, true)
    expect(report).toMatchObject({ linked: 0, cloned: 0 })
    expect(report.writtenBytes).toBeGreaterThan(report.dataBytes)
    expect(report.notes.join()).toContain("could not be linked")
    sameData(standard, target)
  })

  it("that cannot be linked are cloned before they are copied", async () => {
    const { report } = await onDisk({ link: refuse("link", "EXDEV"), clone: (from, to) => copyFile(from, to) }, true)
    expect(report).toMatchObject({ linked: 0, cloned: count() })
    expect(report.notes.join()).not.toContain("could not be linked")
  })

  it("on another file system must be copied: it is said beforehand, and there must be room", async () => {
    const target = fresh(work)
    const parent = join(target, "..")
    const other: Partial<DiskCalls> = {
      stat: async (path) => ({ ...await nodeCalls.stat(path), ...(path === parent ? { dev: 4711 } : {}) }),
      link: refuse("link", "EXDEV"),
      clone: refuse("clone", "EXDEV")
    }
    const forecast = (link: boolean) =>
      Effect.runPromise(
        prepareRelabel(families, standard, { to: ["mimo"], layout: (names) => resolveLayout([], names) }).pipe(
          Effect.flatMap((p) => p.forecast(target, link)),
          Effect.provide(Layer.succeed(Disk, { ...nodeCalls, ...other }))
        )
      )
    const [linked, copied] = [await forecast(true), await forecast(false)]
    expect(linked.bytes).toBe(copied.bytes)
    expect(linked.notes).toEqual([expect.stringMatching(/^--link: .* is on another file system than .* unchanged files \(\d+ bytes\) must be copied$/)])
    expect(copied.notes).toEqual([])
    expect((await onDisk({ freeSpace: async () => copied.bytes + (17 << 20), ...other }, true, { target: fresh(work) })).report.linked).toBe(0)
    await expect(onDisk({ ...other, freeSpace: async () => (16 << 20) + copied.bytes - 1 }, true, { target })).rejects.toMatchObject({ _tag: "NoSpace" })
    // Not known beforehand: a link that is refused for another reason.
    const shrinking = [1e12, 1000]
    const freeSpace = async () => shrinking.shift() ?? 1000
    await expect(onDisk({ link: refuse("link", "EPERM"), clone: refuse("clone", "EXDEV"), freeSpace }, true, { target })).rejects.toMatchObject({ _tag: "NoSpace" })
  })

  it("that are linked are not read, so that 10 GB take no longer than their index", async () => {
    const large = (await relabelled(work, mimo, ["standard"])).path
    for (const name of dataFiles(mimo).keys()) truncateSync(join(folderOf(large), name), 2.5e9)
    const read: Array<string> = []
    const report = await Effect.runPromise(
      prepareRelabel(families, large, { to: ["mimo"], layout: (names) => resolveLayout([], names) }).pipe(
        Effect.flatMap((p) => p.run(fresh(work), { link: true, overwrite: false })),
        Effect.provide(Layer.succeed(Disk, { ...nodeCalls, open: async (path, mode, options) => {
          const file = await nodeCalls.open(path, mode, options)
          return { ...file, read: async (into, position) => {
            if (path.endsWith(".distcp")) read.push(path)
            return file.read(into, position)
          } }
        } }))
      )
    )
    expect(report.dataBytes).toBeGreaterThan(10e9)
    expect(report.linked).toBe(dataFiles(mimo).size)
    expect(read).toEqual([])
  })

  it("any other failure ends the run", async () => {
    await expect(onDisk({ clone: refuse("clone", "EIO") }, false)).rejects.toThrow("EIO")
  })

  it("are not copied again by --resume", async () => {
    const target = fresh(work)
    let copied = 0
    const broken = (limit: number): Partial<DiskCalls> => ({
      clone: refuse("clone", "ENOTSUP"),
      open: async (path, mode, options) => {
        const file = await nodeCalls.open(path, mode, options)
        const counts = mode !== "read" && path.endsWith(".distcp")
        return counts ? { ...file, write: async (from, position) => {
          if (++copied > limit) throw diskError(path, "write", "EIO")
          return file.write(from, position)
        } } : file
      }
    })
    await expect(onDisk(broken(2), false, { target })).rejects.toThrow("--resume")
    const { report } = await onDisk({ clone: refuse("clone", "ENOTSUP") }, false, { target, resume: true })
    expect(report.notes.join()).toMatch(/resumed: .* were checked and kept/)
    sameData(standard, target)
    expect(await run(verifyDeep(target))).toMatchObject({ damages: [], notes: [] })
    const again = await onDisk({}, false, { target, resume: true })
    expect(again.report.notes.join()).toContain("was already complete")
  })
})

describe("files", () => {
  it("other files of the folder come along, sums of changed files do not", async () => {
    const source = (await relabelled(work, mimo, ["standard"])).path
    writeFileSync(join(folderOf(source), "notes.txt"), "kept")
    writeFileSync(join(folderOf(source), "empty"), "")
    writeFileSync(join(folderOf(source), "integrity.json"), "{}")
    const { path, report } = await relabelled(work, source, ["mimo"])
    const files = treeOf(folderOf(path))
    expect([...files.keys()]).toEqual(expect.arrayContaining(["notes.txt", "empty", "tokenizer/tokenizer.json", "train_state.pt", "metadata.json"]))
    expect(files.has("integrity.json")).toBe(false)
    expect(report.notes.join()).toContain("integrity.json is left behind")
  })

  it("an existing target is refused, and replaced on demand", async () => {
    const { path } = await relabelled(work, mimo, ["standard"])
    const again = relabelled(work, path, ["mimo"])
    await expect(again).resolves.toBeDefined()
    const prepared = await run(prepareRelabel(families, mimo, { to: ["standard"], hfModel: vlm, layout: (names) => resolveLayout([], names) }))
    await expect(run(prepared.run(path, { link: false, overwrite: false }))).rejects.toThrow("--overwrite")
    await expect(run(prepared.run(path, { link: true, overwrite: true }))).resolves.toMatchObject({ linked: dataFiles(mimo).size })
  })
})

const contentOf = (path: string): ReadonlyArray<readonly [unknown, unknown]> => {
  const common = readArchive(readFileSync(join(folderOf(path), "common.pt"))) as ReadonlyMap<string, ReadonlyMap<unknown, unknown>>
  return [...common.get("content_metadata")!]
}

/** A `common.pt` with this pickle in it. */
const commonOf = (pickle: Buffer): Uint8Array =>
  archiveOf([
    { name: "common/data.pkl", content: pickle },
    { name: "common/byteorder", content: Buffer.from("little") },
    { name: "common/version", content: Buffer.from("3\n") }
  ])
