/** A case of the corpus: what is wrong (or merely unusual), how the files come about, what is said about it. */
import type { FileSet } from "./FileSet.ts"
import type { Architecture } from "./Toy.ts"

/** What is run on the files. `export`: of the checkpoint in them, or with them as `--hf-model`. */
export type Command = "inspect" | "import" | "export"

export interface BadCase {
  readonly id: string
  readonly files: () => FileSet
  readonly commands: ReadonlyArray<Command>
  /** Every message names these: the file, and the tensor, field or byte where there is one. */
  readonly says: ReadonlyArray<string>
  /** What is named on the command line, relative to the files. */
  readonly path?: string
  /** Of which model the checkpoint is. Default `llama`. */
  readonly architecture?: Architecture
}

export interface GoodCase {
  readonly id: string
  readonly files: () => FileSet
  readonly path?: string
  /** Only looked at: the model has no place for these tensors. */
  readonly inspectOnly?: true
  /** The sound model of the architecture, in files that only this program reads as data: what comes out is held against that. */
  readonly pickled?: true
  readonly architecture?: Architecture
}
