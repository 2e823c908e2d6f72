/** The files of Megatron-Bridge and of Megatron-LM around the same tensors. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { argumentsOf } from "../../src/arguments/TrainingArguments.ts"
import { providerOfArguments } from "../../src/arguments/providerFields.ts"
import { diffCheckpoints, exportDescribed, importCheckpoint, relabelCheckpoint, verifyCheckpoint, writeSampleModel } from "../../src/index.ts"
import { providerOf, parseRunConfig, sectionAt } from "../../src/runconfig/RunConfigFile.ts"
import { ModelFields } from "../../src/bridge/ModelFields.ts"
import { readArchive } from "../../src/torch/ObjectItem.ts"
import { readTrainState } from "../../src/torch/TrainState.ts"
import { trainingCheckpoint } from "../conformance/training.ts"

const work = mkdtempSync(join(tmpdir(), "trainer-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))

const dataOf = (directory: string) => readdirSync(directory).filter((name) => name.endsWith(".distcp")).sort().map((name) => [name, readFileSync(join(directory, name)).toString("base64")])

describe("a checkpoint of Megatron-LM", () => {
  const raw = join(trainingCheckpoint("lm-moe-fully-reshardable-ep2"), "iter_0000003")

  it("gets the files that Megatron-Bridge looks for, and loses them again", async () => {
    const [bridge, back] = [join(work, "bridge"), join(work, "back")]
    const { notes } = await relabelCheckpoint(trainingCheckpoint("lm-moe-fully-reshardable-ep2"), bridge, { to: ["bridge"] })
    expect(notes.join()).toContain("local specification")
    expect(readdirSync(bridge).sort()).toEqual(["iter_0000003", "latest_checkpointed_iteration.txt", "latest_train_state.pt"])
    expect(dataOf(join(bridge, "iter_0000003"))).toEqual(dataOf(raw))
    const config = parseRunConfig(readFileSync(join(bridge, "iter_0000003", "run_config.yaml")))
    expect(sectionAt(config, "checkpoint")).toMatchObject({ save_optim: true, save_rng: true })
    expect(providerOf(config)).toMatchObject({
      _target_: "megatron.bridge.models.gpt_provider.GPTModelProvider", num_moe_experts: 4, expert_model_parallel_size: 2, vocab_size: 40,
      transformer_layer_spec: { use_transformer_engine: false, normalization: "RMSNorm" }
    })
    const state = readTrainState(readFileSync(join(bridge, "iter_0000003", "train_state.pt")))
    expect([state.step, state.consumedTrainSamples]).toEqual([3, 24])
    await relabelCheckpoint(bridge, back, { to: ["megatron-lm"] })
    expect(readdirSync(back).sort()).toEqual(["iter_0000003", "latest_checkpointed_iteration.txt"])
    expect(readdirSync(join(back, "iter_0000003")).sort()).toEqual(readdirSync(raw).sort())
    expect(dataOf(join(back, "iter_0000003"))).toEqual(dataOf(raw))
  })

  it("asks for Transformer Engine's layers once it has their names", async () => {
    const te = join(work, "te")
    await relabelCheckpoint(trainingCheckpoint("lm-moe-fully-reshardable-ep2"), te, { to: ["te-spec", "bridge"] })
    expect(providerOf(parseRunConfig(readFileSync(join(te, "iter_0000003", "run_config.yaml"))))).toMatchObject({ transformer_layer_spec: { use_transformer_engine: true } })
    const { equal, total } = await diffCheckpoints(te, trainingCheckpoint("lm-moe-fully-reshardable-ep2"))
    expect(equal).toBe(total)
  })

  it("is refused where nothing would change", async () => {
    await expect(relabelCheckpoint(trainingCheckpoint("lm-weights-only-tp2"), join(work, "no"), { to: ["megatron-lm"] })).rejects.toMatchObject({ code: "unsupported/relabel" })
    await expect(relabelCheckpoint(join(work, "bridge"), join(work, "no"), { to: ["bridge"] })).rejects.toMatchObject({ code: "unsupported/relabel" })
    await expect(relabelCheckpoint(trainingCheckpoint("mimo-no-ddp-weights"), join(work, "no"), { to: ["bridge"] })).rejects.toThrow("no arguments of a run")
  })
})

describe("an imported checkpoint", () => {
  it("becomes one of Megatron-LM: the arguments describe the same model, and config.json follows from them", async () => {
    const [hf, megatron, lm, again] = ["hf", "megatron", "lm", "again"].map((name) => join(work, name)) as [string, string, string, string]
    await writeSampleModel(hf, { model: "qwen3-moe" })
    await importCheckpoint({ hfModel: hf, standard: true, tp: 2 }, megatron)
    await relabelCheckpoint(megatron, lm, { to: ["local-spec", "megatron-lm"] })
    expect(readdirSync(join(lm, "iter_0000000"))).not.toContain("run_config.yaml")
    const args = argumentsOf(readArchive(readFileSync(join(lm, "iter_0000000", "common.pt"))))!
    const section = providerOf(parseRunConfig(readFileSync(join(megatron, "iter_0000000", "run_config.yaml"))))!
    expect(new ModelFields(providerOfArguments(args).fields).decisive()).toEqual(new ModelFields(section).decisive())
    expect([args.number("tensor_model_parallel_size"), args.flag("no_save_optim"), args.named("params_dtype")]).toEqual([2, true, "torch.bfloat16"])
    await exportDescribed(lm, again)
    const verified = await verifyCheckpoint({ hfModel: hf }, lm)
    expect(verified.equal).toBe(verified.total)
    const same = await diffCheckpoints(hf, again)
    expect(same.equal).toBe(same.total)
  })

  it("with components is none that Megatron-LM builds", async () => {
    const [hf, mimo] = [join(work, "vlm"), join(work, "mimo")]
    await writeSampleModel(hf)
    await importCheckpoint({ hfModel: hf }, mimo)
    await expect(relabelCheckpoint(mimo, join(work, "no"), { to: ["megatron-lm"] })).rejects.toThrow("builds language models alone")
  })
})
