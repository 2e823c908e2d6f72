/** Every ailment is recognised, and the advice mends it. */
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs"
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { program } from "../program.ts"
import { families } from "../../routes/index.ts"
import { verified } from "../../routes/verified.ts"
import { examinePath, type DoctorReport } from "../../src/doctor/doctor.ts"
import { examineMachine } from "../../src/doctor/machine.ts"
import { trainingCheckpoint } from "../conformance/training.ts"
import { nodeCalls } from "../../src/io/Disk.ts"
import { createFolder } from "../../src/publish/staging/folder.ts"
import { verifyMegatron } from "../../src/verify/verify.ts"
import type { DcpMetadata, StoredChunk } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { trainStateFile, untrained } from "../../src/torch/TrainState.ts"
import { caseModel, folderOf, fresh, imported, makeDirectory, metadataOf, relabelled, run, sampleModel, workDirectory } from "../relabel/checkpoints.ts"
import { makeTrained } from "../relabel/trained.ts"

const work = workDirectory("doctor")
let vlm: string
let mimo: string

beforeAll(async () => {
  vlm = await sampleModel(work)
  mimo = await imported(work, { hfModel: vlm, components: ["language=tp=2", "images=tp=1"] })
})


/** Run what doctor says, as a user would. */
const paste = (command: string | undefined): void => {
  expect(command).toBeDefined()
  execFileSync("bash", ["-c", `convert_megatron_mimo() { "$NODE" "$BIN" "$@"; }; set -e; ${command}`], { env: { ...process.env, NODE: process.execPath, BIN: program } })
}

const examined = (path: string): Promise<DoctorReport> => run(examinePath(families, path, verified.flatMap((v) => v.providers)))

/** A copy of the sound checkpoint with something done to it. */
const harmed = (harm: (parent: string, folder: string) => void): string => {
  const copy = join(makeDirectory(fresh(work)), "checkpoint")
  cpSync(mimo, copy, { recursive: true })
  harm(copy, join(copy, "iter_0000000"))
  return copy
}

const found = async (path: string, code: string) => {
  const report = await examined(path)
  const one = report.found.find((d) => d.code === code)
  expect(one, `${code} among ${report.found.map((d) => d.code).join(", ")}`).toBeDefined()
  return { ...one!, report }
}

const reindex = (folder: string, change: (metadata: DcpMetadata) => DcpMetadata) => {
  const path = join(folder, ".metadata")
  writeFileSync(path, encodeMetadata(change(metadataOf(join(folder, "..")))))
}

const edit = (folder: string, name: string, change: (text: string) => string) =>
  writeFileSync(join(folder, name), change(readFileSync(join(folder, name), "utf8")))

describe("a sound checkpoint", () => {
  it("has nothing a loader would stumble over", async () => {
    const report = await examined(mimo)
    expect(report.sound).toBe(true)
    expect(report.found.filter((d) => d.severity === "error" || d.severity === "warning")).toEqual([])
  })

  it("nor has its model", async () => {
    const report = await examined(vlm)
    expect(report.sound).toBe(true)
    expect(report.found.map((d) => d.code)).toContain("family")
  })
})

describe("trackers", () => {
  it("without any, the reference exports random weights", async () => {
    const path = harmed((parent) => {
      rmSync(join(parent, "latest_train_state.pt"))
      rmSync(join(parent, "latest_checkpointed_iteration.txt"))
    })
    const { fix, report, text } = await found(path, "no-tracker")
    expect(text).toContain("exports random weights without a word")
    expect(fix).toContain("latest_train_state.pt")
    expect(report.sound).toBe(false)
    const { path: mended } = await relabelled(work, join(path, "iter_0000000"), ["standard"])
    expect((await examined(mended)).sound).toBe(true)
    paste((await found(path, "no-tracker")).command)
    expect((await examined(path)).found.filter((d) => d.severity === "error" || d.severity === "warning")).toEqual([])
  })

  it.each([
    ["tracker-zero", (parent: string) => rmSync(join(parent, "latest_train_state.pt"))],
    ["one-tracker", (parent: string) => rmSync(join(parent, "latest_checkpointed_iteration.txt"))],
    ["empty-tracker", (parent: string) => writeFileSync(join(parent, "latest_checkpointed_iteration.txt"), "")],
    ["bad-tracker", (parent: string) => writeFileSync(join(parent, "latest_checkpointed_iteration.txt"), "soon")],
    ["bad-train-state", (parent: string) => writeFileSync(join(parent, "latest_train_state.pt"), "x")],
    ["trackers-disagree", (parent: string) => writeFileSync(join(parent, "latest_train_state.pt"), trainStateFile(untrained(7)))],
    ["tracked-missing", (parent: string) => renameSync(join(parent, "iter_0000000"), join(parent, "iter_0000003"))],
    ["not-highest", (parent: string) => mkdirSync(join(parent, "iter_0000009"))],
    ["hf-beside", (parent: string) => writeFileSync(join(parent, "model.safetensors"), "")]
  ])("%s", async (code, harm) => {
    const path = harmed(harm)
    const { command, fix } = await found(path, code)
    expect(fix).toBeTruthy()
    if (["trackers-disagree", "tracked-missing", "hf-beside"].includes(code)) return expect(command).toBeUndefined()
    paste(command)
    expect((await examined(path)).found.map((d) => d.code)).not.toContain(code)
  })
})

describe("files and index", () => {
  it.each([
    ["no-backend", (folder: string) => rmSync(join(folder, "metadata.json"))],
    ["bad-backend", (folder: string) => writeFileSync(join(folder, "metadata.json"), "{")],
    ["other-backend", (folder: string) => writeFileSync(join(folder, "metadata.json"), '{"sharded_backend": "zarr"}')],
    ["no-metadata", (folder: string) => rmSync(join(folder, ".metadata"))],
    ["bad-metadata", (folder: string) => writeFileSync(join(folder, ".metadata"), "x")],
    ["no-run-config", (folder: string) => rmSync(join(folder, "run_config.yaml"))],
    ["bad-run-config", (folder: string) => writeFileSync(join(folder, "run_config.yaml"), "a: [")],
    ["absent-file", (folder: string) => rmSync(join(folder, "__1_0.distcp"))],
    ["chunk-beyond-file", (folder: string) => truncateSync(join(folder, "__0_0.distcp"), 100_000)]
  ])("%s", async (code, harm) => {
    const path = harmed((_, folder) => harm(folder))
    const { command, fix, report } = await found(path, code)
    expect(fix).toBeTruthy()
    if (command !== undefined) {
      paste(command)
      expect((await examined(path)).sound).toBe(true)
    }
    expect(command !== undefined).toBe(["no-backend", "bad-backend"].includes(code))
    if (code !== "no-run-config") expect(report.sound).toBe(false)
  })

  it("folders of ranks are examined as they are", async () => {
    const report = await examined(trainingCheckpoint("legacy-tp2pp2"))
    expect(report.sound).toBe(true)
    expect(report.found.find((d) => d.code === "legacy")?.command).toMatch(/ relabel .*--to torch-dist/)
    const path = join(work, "ranks")
    cpSync(trainingCheckpoint("legacy-tp2pp2"), path, { recursive: true })
    rmSync(join(path, "iter_0000003", "mp_rank_01_000"), { recursive: true })
    const harmedRanks = await examined(path)
    expect(harmedRanks.sound).toBe(false)
    expect(harmedRanks.found.find((d) => d.code === "rank-missing")?.text).toContain("mp_rank_01_000")
  })

  it("a file that is gone does not hide one that is cut short", async () => {
    const path = harmed((_, folder) => {
      rmSync(join(folder, "__1_0.distcp"))
      truncateSync(join(folder, "__0_0.distcp"), 100_000)
    })
    expect((await examined(path)).found.map((d) => d.code)).toEqual(expect.arrayContaining(["absent-file", "chunk-beyond-file"]))
  })

  it("holes and overlaps, which no loader notices, all of them", async () => {
    const key = "language_model.output_layer.weight"
    const other = "language_model.embedding.word_embeddings.weight"
    const path = harmed((_, folder) => reindex(folder, (m) => ({
      ...m,
      tensors: new Map([...m.tensors].map(([k, t]) => [k,
        k === key ? { ...t, shape: [1001, 64] }
        : k === other ? { ...t, chunks: t.chunks.map((c): StoredChunk => (c.offsets[0] === 500 ? { ...c, offsets: [499, 0] } : c)), shape: [999, 64] }
        : t]))
    })))
    expect((await found(path, "chunk-hole")).names).toEqual([key])
    expect((await found(path, "chunk-overlap")).names).toEqual([other])
  })

  it("a data file that nothing needs", async () => {
    expect((await found(harmed((_, folder) => writeFileSync(join(folder, "__9_0.distcp"), "x")), "unused-file"))).toMatchObject({ names: ["__9_0.distcp"], command: expect.stringMatching(/^rm .*__9_0\.distcp$/) })
  })
})

describe("keys", () => {
  it("DDP's prefix, and its cure", async () => {
    const trained = join(makeDirectory(fresh(work)), "trained")
    makeTrained(mimo, trained)
    const { command, text } = await found(trained, "ddp-prefix")
    expect(text).toContain("KeyError")
    paste(command)
    expect((await examined(`${trained}-mended`)).found.map((d) => d.code)).not.toContain("ddp-prefix")
  })

  it("absent module states, and their cure", async () => {
    const path = harmed((_, folder) => reindex(folder, (m) => ({ ...m, objects: new Map([...m.objects].filter(([k]) => !k.includes("_extra_state"))) })))
    const { command, severity } = await found(path, "no-extra-state")
    expect(severity).toBe("error")
    paste(command)
    const mended = `${path}-mended`
    expect((await examined(mended)).sound).toBe(true)
    expect((await run(verifyMegatron(mended, mimo, {}))).equal).toBe(98)
  })

  it("some absent module states are a warning", async () => {
    const path = harmed((_, folder) => reindex(folder, (m) => ({ ...m, objects: new Map([...m.objects].filter(([k]) => !k.includes("out_norm._extra_state"))) })))
    expect((await found(path, "no-extra-state")).severity).toBe("warning")
  })

  it("no common state at all", async () => {
    const path = harmed((_, folder) => {
      rmSync(join(folder, "common.pt"))
      reindex(folder, (m) => ({ ...m, objects: new Map([...m.objects].filter(([k]) => !k.startsWith("common_state"))) }))
    })
    expect((await found(path, "no-common-state")).severity).toBe("error")
  })

  it("a slash in a key", async () => {
    const path = harmed((_, folder) => reindex(folder, (m) => ({ ...m, tensors: new Map([...m.tensors].map(([k, t], i) => [i === 0 ? `${k}/x` : k, t])) })))
    expect((await found(path, "slash")).severity).toBe("error")
  })

  it("experts one by one", async () => {
    const moe = await imported(work, { hfModel: await caseModel(work, "qwen3-moe-a"), standard: true })
    const { path } = await relabelled(work, moe, ["sequential"])
    expect((await found(path, "singleton")).command).toContain("--to grouped")
    paste((await found(path, "singleton-flag")).command)
    expect((await examined(`${path}-mended`)).found.map((d) => d.code)).not.toContain("singleton-flag")
  })
})

describe("the run configuration against the tensors", () => {
  it("padding is fine, too small a table is not", async () => {
    expect((await found(harmed((_, f) => edit(f, "run_config.yaml", (t) => t.replace("vocab_size: 1000", "vocab_size: 990"))), "padding")).severity).toBe("note")
    expect((await found(harmed((_, f) => edit(f, "run_config.yaml", (t) => t.replace("vocab_size: 1000", "vocab_size: 1024"))), "vocabulary")).severity).toBe("error")
  })

  it("another dtype than is stored", async () => {
    const path = harmed((_, f) => edit(f, "run_config.yaml", (t) => t.replaceAll("torch.bfloat16", "torch.float32")))
    expect((await found(path, "dtype")).text).toContain("says F32, most bytes are BF16")
  })

  it.each([
    ["moved-class", (t: string) => t.replaceAll("megatron.bridge.", "megatron.hub.")],
    ["moved-class", (t: string) => t.replace("models.qwen_vl.qwen35_vl_provider.", "models.elsewhere.")],
    ["refused-class", (t: string) => t.replace("torch.nn.functional.silu", "os.system")],
    ["refused-class", (t: string) => t.replace("torch.nn.functional.silu", "torch.load")],
    ["private-class", (t: string) => t.replace("torch.nn.functional.silu", "torch.nn._secret.silu")],
    ["call-with-fields", (t: string) => t.replace(/_call_: false\n( +)_target_: torch\.nn/, "_call_: false\n$1_target_: torch.nn").replace(/( +)_target_: torch\.nn\.functional\.silu/, "$1_target_: torch.nn.functional.silu\n$1extra: 1")],
    ["interpolation", (t: string) => `${t}note: \${oc.env:HOME}\n`],
    ["float-text", (t: string) => t.replace("1.0e-06", "1e-6")],
    ["no-provider", (t: string) => t.replace(/^model:\n(?: .*\n)*/m, "")]
  ])("%s", async (code, change) => {
    const path = harmed((_, folder) => edit(folder, "run_config.yaml", (text) => {
      const changed = change(text)
      expect(changed).not.toBe(text)
      return changed
    }))
    const { command, fix } = await found(path, code)
    expect(fix).toBeTruthy()
    expect(command !== undefined).toBe(code === "moved-class")
    if (command === undefined) return
    for (const d of (await examined(path)).found) if (d.code === code) paste(d.command)
    expect((await examined(path)).sound).toBe(true)
  })

  it("the provider of any model that is known here may have moved", async () => {
    for (const from of ["megatron.bridge.models.qwen_vl.qwen35_vl_provider.Qwen35VLModelProvider"]) {
      for (const { providers } of verified.slice(0, 20)) {
        const [target] = providers as [string]
        const elsewhere = `megatron.bridge.elsewhere.${target.slice(target.lastIndexOf(".") + 1)}`
        const path = harmed((_, f) => edit(f, "run_config.yaml", (t) => t.replace(from, elsewhere)))
        expect((await found(path, "moved-class")).fix).toBe(`Write ${target} there.`)
      }
    }
  })
})

describe("a Hugging Face directory", () => {
  const model = (harm: (directory: string) => void): string => {
    const copy = join(makeDirectory(fresh(work)), "hf")
    cpSync(vlm, copy, { recursive: true })
    harm(copy)
    return copy
  }

  it("an index that points at an absent shard names its tensors", async () => {
    const { names } = await found(model((d) => rmSync(join(d, "model-00002-of-00003.safetensors"))), "absent-shard")
    expect(names!.length).toBeGreaterThan(10)
  })

  it("an index that points at absent tensors", async () => {
    const path = model((d) => edit(d, "model.safetensors.index.json", (t) => t.replace('"lm_head.weight"', '"lm_head.other"')))
    const report = await examined(path)
    expect(report.sound).toBe(false)
    expect(report.found[0]!.text).toContain("lm_head")
  })

  it("no config, or one that nothing answers to", async () => {
    expect((await found(model((d) => rmSync(join(d, "config.json"))), "no-config")).severity).toBe("warning")
    expect((await found(model((d) => edit(d, "config.json", (t) => t.replace("Qwen3_5ForConditionalGeneration", "Qwen9ForNothing"))), "no-family")).text).toContain("Qwen9ForNothing")
  })
})

describe("unfinished work", () => {
  it("a staging folder whose process is gone", async () => {
    const parent = makeDirectory(fresh(work))
    cpSync(mimo, join(parent, "checkpoint"), { recursive: true })
    await createFolder(nodeCalls, join(parent, ".other.partial"))
    expect((await found(join(parent, "checkpoint"), "stale-staging")).command).toContain("rm -r")
    writeFileSync(join(parent, ".other.partial", "journal"), "")
    expect((await found(join(parent, "checkpoint"), "stale-staging")).fix).toContain("--resume")
    mkdirSync(join(parent, ".other.partial", "replaced"))
    expect((await found(join(parent, "checkpoint"), "half-replaced")).severity).toBe("error")
    mkdirSync(join(parent, ".other.discarded.00000000-0000-0000-0000-000000000000"))
    expect((await found(join(parent, "checkpoint"), "discarded-staging")).severity).toBe("warning")
  })

  it("something of another's by the name of a staging folder", async () => {
    const parent = makeDirectory(fresh(work))
    cpSync(mimo, join(parent, "checkpoint"), { recursive: true })
    symlinkSync("checkpoint", join(parent, ".other.partial"))
    expect((await found(join(parent, "checkpoint"), "foreign-staging")).text).toContain("is a symbolic link: nothing can be written to")
  })
})

describe("the machine", () => {
  it("says what Node, memory, disk and file system can do, and leaves nothing behind", async () => {
    const directory = makeDirectory(fresh(work))
    const report = await run(examineMachine(directory))
    expect(report.map((d) => d.code)).toEqual(expect.arrayContaining(["node", "memory", "disk", "direct-io", "links", "reflinks", "fsync", "optional"]))
    expect(report.find((d) => d.code === "node")!.severity).toBe("ok")
    const { readdirSync } = await import("node:fs")
    expect(readdirSync(directory)).toEqual([])
    expect(folderOf(mimo)).toMatch(/iter_0000000$/)
  })
})
