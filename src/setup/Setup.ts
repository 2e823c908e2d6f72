/** Everything that the files of a run say, resolved and checked: what each generator writes from. Plain data. */
import type { LoadRoute } from "../mimo/loadRoute.ts"
import type { Layout } from "../parallel/ModuleParallelism.ts"
import type { LayoutScore } from "../planner/LayoutReport.ts"

/** A value of a configuration field, as Python and YAML can write it. */
export type Setting = string | number | boolean | null

/** What is trained on. */
export type DatasetChoice =
  /** A preset of the trainer. */
  | { readonly kind: "preset"; readonly name: string }
  /** A dataset of the Hub or a folder, with the adapter that makes chats of its rows. */
  | { readonly kind: "path"; readonly path: string; readonly subset?: string; readonly adapter?: string }

/** Who starts the processes, with what. */
export interface LaunchChoice {
  readonly gpusPerNode: number
  /** Ranks of each node, in order. */
  readonly ranksByNode: ReadonlyArray<number>
  readonly container?: string
  readonly mounts: ReadonlyArray<string>
  readonly partition?: string
  readonly account?: string
  readonly time: string
}

interface Common {
  /** Name of the run: of jobs, folders, logs. */
  readonly name: string
  readonly architecture: string
  readonly hfModel: string
  /** The imported checkpoint. */
  readonly megatronPath: string
  /** Where training saves. */
  readonly savePath: string
  readonly layout: Layout
  readonly score: LayoutScore
  readonly seqLength: number
  readonly globalBatch: number
  readonly trainIters: number
  readonly saveInterval: number
  readonly lr: number
  readonly minLr: number
  readonly warmupIters: number
  readonly seed: number
  readonly frozen: ReadonlyArray<string>
  readonly dataset: DatasetChoice
  /** Fields of the configuration by dotted path. */
  readonly overrides: ReadonlyMap<string, Setting>
  readonly launch: LaunchChoice
  readonly notes: ReadonlyArray<string>
}

/** Components on ranks of their own, by the trainer's example script. */
export interface MimoSetup extends Common {
  readonly form: "mimo"
  /** The script's path in a checkout of the trainer, and its options by what they freeze. */
  readonly script: { readonly path: string; readonly freeze: Readonly<Record<string, string>> }
  readonly loadRoute: LoadRoute
}

/** One model under one layout, by the trainer's common configuration. */
export interface StandardSetup extends Common {
  readonly form: "standard"
  readonly mode: "sft" | "lora"
  readonly recipe: { readonly step: string; readonly base: string }
  readonly lora?: { readonly dim: number; readonly alpha: number }
  /** The model has towers: their freezes have fields. */
  readonly hasTower: boolean
}

export type Setup = MimoSetup | StandardSetup
