/**
 * Every command: what it is for, and how it is loaded when it is asked for. Most of a start would be the loading of what other commands
 * need.
 */
import type { Command } from "effect/cli"
import type { Disk } from "../../api/ground.ts"
import type { BridgeError } from "../../errors.ts"

/** Names and inputs differ from command to command; what all of them may fail with, and need, does not. */
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyCommand = Command.Command<any, any, any, BridgeError, Disk | Command.Environment>

export interface KnownCommand {
  /** As help says it. */
  readonly description: string
  readonly load: () => Promise<AnyCommand>
}

/** By name, in the order of the help. */
export const commands: Readonly<Record<string, KnownCommand>> = {
  import: {
    description: "Turn a Hugging Face checkpoint into a MegatronMIMO (or standard) torch_dist checkpoint",
    load: async () => (await import("./import.ts")).importCommand
  },
  export: {
    description: "Turn a Megatron checkpoint (MIMO or standard, converted or trained) into a Hugging Face one",
    load: async () => (await import("./export.ts")).exportCommand
  },
  verify: {
    description: "Prove that two checkpoints hold the same tensors, bit for bit, or (--deep) that one is as it was written; exit code 1 if not",
    load: async () => (await import("./verify.ts")).verifyCommand
  },
  roundtrip: {
    description: "Import a Hugging Face model to a temporary checkpoint, export that again and compare every tensor; exit code 1 if one differs",
    load: async () => (await import("./roundtrip.ts")).roundtripCommand
  },
  plan: {
    description: "Print what an import or export would do: components and ranks, tensors, files, dtype changes, disk needed",
    load: async () => (await import("./plan.ts")).planCommand
  },
  inspect: {
    description: "Show what is in a checkpoint: tensors by module, sums, files and ranks, peculiarities. Reads headers only, unless --stats",
    load: async () => (await import("./inspect.ts")).inspectCommand
  },
  diff: {
    description: "Show how two checkpoints differ: missing, extra, shapes, dtypes, values and how far apart; exit code 1 if they do",
    load: async () => (await import("./diff.ts")).diffCommand
  },
  report: {
    description: "Write one HTML page about checkpoints: ranks, layers, chunks, tensors, coverage. Works offline; reads headers only",
    load: async () => (await import("./report.ts")).reportCommand
  },
  relabel: {
    description: "Translate the names of a Megatron checkpoint without rewriting its bytes, or its format; refuses what has no exact equivalent",
    load: async () => (await import("./relabel.ts")).relabelCommand
  },
  reshard: {
    description: "Cut a training checkpoint for another layout: weights, optimizer state, schedules, iteration; without torch, at the speed of the disk",
    load: async () => (await import("./reshard.ts")).reshardCommand
  },
  "merge-iterations": {
    description: "Write the average of several iterations' weights as a checkpoint: sums in F32, rounded once",
    load: async () => (await import("./mergeIterations.ts")).mergeIterationsCommand
  },
  prune: {
    description: "Remove iterations of a training folder, or their optimizer state; never the newest, never what a tracker names. Prints first, --yes does it",
    load: async () => (await import("./prune.ts")).pruneCommand
  },
  uploads: {
    description: "List uploads to a bucket that nobody has finished; --abort removes them, --resume of the command that began them goes on",
    load: async () => (await import("./uploads.ts")).uploadsCommand
  },
  publish: {
    description: "Publish a checkpoint as the next version of a model's weights for rollout engines: whole, or what has changed",
    load: async () => (await import("./publish.ts")).publishCommand
  },
  pull: {
    description: "Bring a local copy of a model to a published version: apply what has changed in place, or copy the whole; checked and resumable",
    load: async () => (await import("./pull.ts")).pullCommand
  },
  push: {
    description: "Bring a published version to the replicas of SGLang or vLLM, in the order that is safe; exit code 1 if not all have it",
    load: async () => (await import("./push.ts")).pushCommand
  },
  doctor: {
    description: "Say what is wrong with a checkpoint, or what this machine can do, with a fix for each ailment; exit code 1 if a loader would stumble",
    load: async () => (await import("./doctor.ts")).doctorCommand
  },
  models: {
    description: "List the supported architectures, what each supports and how that is verified",
    load: async () => (await import("./models.ts")).modelsCommand
  },
  sample: {
    description: "Write a deterministic sample checkpoint (real structure, generated weights), to try and to measure with",
    load: async () => (await import("./sample.ts")).sampleCommand
  },
  scaffold: {
    description: "Write a starter family file for an architecture that is not known yet",
    load: async () => (await import("./scaffold.ts")).scaffoldCommand
  },
  flops: {
    description: "Count the floating-point operations of a sequence by component and kind of module. Reads config.json only",
    load: async () => (await import("./flops.ts")).flopsCommand
  },
  memory: {
    description: "Count the memory of every rank under a layout: weights, gradients, optimizer, activations in flight, logits. Reads config.json only",
    load: async () => (await import("./memory.ts")).memoryCommand
  },
  layout: {
    description: "Choose a layout to train with: all that fit the GPUs are checked by the trainer's rules and scored by allocated GPU time per token",
    load: async () => (await import("./layout.ts")).layoutCommand
  },
  setup: {
    description: "Write what starts a training run (setup sft)",
    load: async () => (await import("./setup.ts")).setupCommand
  },
  adapter: {
    description: "Convert and merge adapters: LoRA, canonical LoRA, DoRA (adapter export, import, merge)",
    load: async () => (await import("./adapter.ts")).adapterCommand
  },
  forward: {
    description: "Does it still speak? Run tokens through a decoder, read layer by layer without a GPU: perplexity and the likeliest next tokens",
    load: async () => (await import("./forward.ts")).forwardCommand
  },
  serve: {
    description: "Stream the weights of a checkpoint over a WebSocket, under their Hugging Face names, to rollout engines and trainers",
    load: async () => (await import("./serve.ts")).serveCommand
  }
}
