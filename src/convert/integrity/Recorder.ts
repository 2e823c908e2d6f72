/** Writes the small files of a checkpoint and, if asked, checksums of everything. */
import { join } from "node:path"
import type { WrittenWindow } from "../../engine/Earlier.ts"
import type { TargetFile } from "../../engine/Target.ts"
import type { DiskCalls } from "../../io/Disk.ts"
import { writeSmall } from "../../io/small.ts"
import { ChecksumsBuilder, type FileChecksums, type TensorChecksums } from "./Checksums.ts"
import { CHECKSUMS } from "./names.ts"

export class Recorder {
  readonly #disk: DiskCalls
  readonly #directory: string
  readonly #checksums: boolean
  readonly #sums = new ChecksumsBuilder()

  /** `directory`: of the data; `checksums`: they are written with it. */
  constructor(disk: DiskCalls, directory: string, checksums: boolean) {
    this.#disk = disk
    this.#directory = directory
    this.#checksums = checksums
  }

  /** A window of a file of the plan is written. */
  readonly window = (file: string, { sums }: WrittenWindow): void => this.#sums.add(file, sums)

  /** Write a file, `name` relative to the directory. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    await writeSmall(this.#disk, join(this.#directory, name), bytes)
    this.#sums.small(name, bytes)
  }

  /** A file of another checkpoint is here as it was there. */
  carry(file: FileChecksums, tensors: ReadonlyArray<TensorChecksums>): void {
    this.#sums.carry(file, tensors)
  }

  /** A file of the plan is there, but was not written by this run. */
  skip(file: string): void {
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
    if (this.#checksums) await writeSmall(this.#disk, join(this.#directory, CHECKSUMS), this.#sums.encode(files, source))
  }
}
