/** Flags of the commands about training: what is trained, on which samples, on what. */
import { Option } from "effect"
import { Flag } from "effect/cli"
import { knownGpus, launchers, recomputes, TRAINING_DEFAULTS } from "../../api/training/defaults.ts"
import type { TrainingRequest, TrainingSampleRequest } from "../../api/training/request.ts"
import { pathFlag } from "../paths.ts"
import { arrangementOf, type LayoutFlags } from "./layout.ts"
import type { Values } from "./Values.ts"

export const sampleFlags = {
  seqLength: Flag.Int("seq-length").pipe(Flag.withMetavar("N"), Flag.withDescription(`Tokens of a sequence, its images among them. Default ${TRAINING_DEFAULTS.seqLength}`), Flag.optional),
  images: Flag.String("images").pipe(
    Flag.withMetavar("N*HxW"),
    Flag.withDescription("Images of a sample in pixels: 1*768x1024, or none; where samples differ repeated with shares: 0.3:none 0.7:2*768x768. Default: no images"),
    Flag.between(0, 64)
  ),
  freeze: Flag.String("freeze").pipe(
    Flag.withMetavar("PART"),
    Flag.withDescription("A part that does not train: language, a component, NAME.projector, router. Repeatable"),
    Flag.between(0, 16)
  )
}

export const run = {
  gpu: Flag.String("gpu").pipe(Flag.withMetavar("NAME"), Flag.withDescription(`${knownGpus.join(", ")}, or one of --gpu-file. Default ${TRAINING_DEFAULTS.gpu}`), Flag.optional),
  gpuFile: pathFlag("gpu-file", "file").pipe(Flag.withMetavar("FILE"), Flag.withDescription("JSON with further GPUs, or other figures for these"), Flag.optional),
  globalBatch: Flag.Int("global-batch").pipe(Flag.withMetavar("N"), Flag.withDescription(`Samples of an optimizer step. Default ${TRAINING_DEFAULTS.globalBatch}`), Flag.optional),
  microBatch: Flag.Int("micro-batch").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("Samples of a microbatch: of MegatronMIMO over all data-parallel ranks, else per rank. Default: several are tried"),
    Flag.optional
  ),
  recompute: Flag.Literals("recompute", recomputes as unknown as ["none", ...Array<(typeof recomputes)[number]>]).pipe(
    Flag.withDescription("Activations made again in the backward pass. Default none, and full where nothing else fits"),
    Flag.optional
  ),
  sequenceParallel: Flag.Boolean("sequence-parallel").pipe(Flag.withDescription("Sequence parallelism of the language model, or --no-sequence-parallel. Default: both are tried"), Flag.optional)
}

export const cluster = {
  nodes: Flag.Int("nodes").pipe(Flag.withMetavar("N"), Flag.withDescription(`Nodes that are allocated. Default ${TRAINING_DEFAULTS.nodes}`), Flag.optional),
  gpusPerNode: Flag.Int("gpus-per-node").pipe(Flag.withMetavar("N"), Flag.withDescription(`GPUs of a node. Default ${TRAINING_DEFAULTS.gpusPerNode}`), Flag.optional),
  sharedNodes: Flag.Boolean("shared-nodes").pipe(Flag.withDescription("GPUs are allocated one by one, so that idle ones cost nothing. Default: whole nodes"), Flag.withDefault(false)),
  launcher: Flag.Literals("launcher", launchers as unknown as ["srun", "torchrun"]).pipe(Flag.withDescription("torchrun starts equally many processes on every node; srun (the default) does not have to"), Flag.withDefault("srun" as const)),
  efficiency: Flag.Finite("efficiency").pipe(Flag.withMetavar("SHARE"), Flag.withDescription("Share of the GPU's peak that the language model reaches. Default: 0.3 to 0.4, by experience"), Flag.optional),
  measuredStep: Flag.Finite("measured-step").pipe(Flag.withMetavar("SECONDS"), Flag.withDescription("A step under the given layout took so long: the estimates are made to agree"), Flag.optional)
}

type Given<A> = { readonly [K in keyof A]: A[K] extends Option.Option<infer B> ? B | undefined : A[K] }

/** Fields of flags that were given, the others left out. */
const given = <A extends object>(flags: A): Partial<Given<A>> =>
  Object.fromEntries(Object.entries(flags).flatMap(([name, value]: [string, unknown]) => (Option.isOption(value) ? (Option.isSome(value) ? [[name, value.value]] : []) : [[name, value]]))) as Partial<Given<A>>

export type SampleFlags = Values<typeof sampleFlags>
export type RunFlags = Values<typeof run>
export type ClusterFlags = Values<typeof cluster>

export const samplesOf = ({ freeze, images, seqLength }: SampleFlags): TrainingSampleRequest => given({ freeze, images, seqLength }) as TrainingSampleRequest

export const runOf = ({ globalBatch, gpu, gpuFile, microBatch, recompute, sequenceParallel }: RunFlags): TrainingRequest =>
  given({ globalBatch, gpu, gpuFile, microBatch, recompute, sequenceParallel }) as TrainingRequest

export const clusterOf = ({ efficiency, gpusPerNode, launcher, measuredStep, nodes, sharedNodes }: ClusterFlags): TrainingRequest =>
  given({ efficiency, gpusPerNode, launcher, measuredStep, nodes, sharedNodes }) as TrainingRequest

/** Everything about a run under a layout. */
export const trainingOf = (flags: SampleFlags & RunFlags & ClusterFlags & LayoutFlags): TrainingRequest =>
  ({ ...samplesOf(flags), ...runOf(flags), ...clusterOf(flags), ...arrangementOf(flags) })
