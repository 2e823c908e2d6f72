/** Writes the small files of a checkpoint and, if asked, checksums of everything. */
import { join } from "node:path"
import type { TargetFile, WrittenWindow } from "../../engine/index.ts"
import type { StagedContent } from "../staging/StagedFiles.ts"
import { ChecksumsBuilder, type FileChecksums, type TensorChecksums } from "./Checksums.ts"
import { CHECKSUMS } from "./names.ts"

export class Recorder {
  readonly #staged: StagedContent
  readonly #folder: string
  readonly #checksums: boolean
  readonly #sums = new ChecksumsBuilder()

  /** `folder`: of the data, in the directory that is being filled; `checksums`: they are written with it. */
  constructor(staged: StagedContent, folder: string, checksums: boolean) {
    this.#staged = staged
    this.#folder = folder
    this.#checksums = checksums
  }

  /** A window of a file of the plan is written. */
  readonly window = (file: string, { sums }: Pick<WrittenWindow, "sums">): void => this.#sums.add(file, sums)

  /** CRC-32 of a range of a file of the plan, at whose borders windows' sums begin and end. */
  crcOf(file: string, start: number, end: number): number {
    return this.#sums.crcOf(file, start, end)
  }

  /** Bytes of a file of the plan whose sums are known. */
  size(file: string): number {
    return this.#sums.size(file)
  }

  /** Make a folder, `name` relative to that of the data. */
  makeDirectory(name: string): Promise<void> {
    return this.#staged.makeDirectory(join(this.#folder, name))
  }

  /** Write a file, `name` relative to the folder of the data. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    await this.#staged.write(join(this.#folder, name), bytes)
    this.#sums.small(name, bytes)
  }

  /** A file of another checkpoint is here as it was there. */
  carry(file: FileChecksums, tensors: ReadonlyArray<TensorChecksums>): void {
    this.#sums.carry(file, tensors)
  }

  /** A file of the plan is there, but was not written by this run: it is a link or a clone. */
  async skip(file: string, linked: boolean): Promise<void> {
    await this.#staged.record(join(this.#folder, file), linked)
    this.#sums.skip(file)
  }

  /** These bytes will be beside the directory under that name. */
  beside(name: string, bytes: Uint8Array): void {
    this.#sums.beside(name, bytes)
  }

  /** Those of the plan that this run has written, and their checksums. */
  written(files: ReadonlyArray<TargetFile>): { readonly files: ReadonlyArray<TargetFile>; readonly sums: ReadonlyMap<string, FileChecksums> } {
    return { files: this.#sums.written(files), sums: this.#sums.checksumsOf(files) }
  }

  /** Write the checksums; everything else is written. */
  async finish(files: ReadonlyArray<TargetFile>, source: string): Promise<void> {
    if (this.#checksums) await this.#staged.write(join(this.#folder, CHECKSUMS), this.#sums.encode(files, source))
  }
}
