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
  readonly #sums: ChecksumsBuilder | undefined

  /** `directory`: of the data. */
  constructor(disk: DiskCalls, directory: string, checksums: boolean) {
    this.#disk = disk
    this.#directory = directory
    this.#sums = checksums ? new ChecksumsBuilder() : undefined
  }

  /** A window of a file of the plan is written. */
  readonly window = (file: string, { sums }: WrittenWindow): void => this.#sums?.add(file, sums)

  /** Write a file, `name` relative to the directory. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    await writeSmall(this.#disk, join(this.#directory, name), bytes)
    this.#sums?.small(name, bytes)
  }

  /** A file of another checkpoint is here as it was there. */
  carry(file: FileChecksums, tensors: ReadonlyArray<TensorChecksums>): void {
    this.#sums?.carry(file, tensors)
  }

  /** A file of the plan is there, but was not written by this run. */
  skip(file: string): void {
    this.#sums?.skip(file)
  }

  /** These bytes will be beside the directory under that name. */
  beside(name: string, bytes: Uint8Array): void {
    this.#sums?.beside(name, bytes)
  }

  /** Write the checksums; everything else is written. */
  async finish(files: ReadonlyArray<TargetFile>, source: string): Promise<void> {
    if (this.#sums) await writeSmall(this.#disk, join(this.#directory, CHECKSUMS), this.#sums.encode(files, source))
  }
}
