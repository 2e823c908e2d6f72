/**
 * Safetensors files and directories of the local disk, with promises:
 * `import { openSafetensors } from "megatron-mimo-bridge/safetensors/node"`. Promises reject with {@link InvalidFile}, which names file,
 * tensor and byte, {@link IoError}, {@link NoSpace}, or the reason of the signal.
 */
import { Effect } from "effect"
import { toPromise } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import type { ReadOptions } from "./ByteSource.ts"
import type { Header } from "./Header.ts"
import * as reader from "./Reader.ts"
import { type HfTensors, openSafetensors as openDirectory } from "./SafetensorsDirectory.ts"
import { type TensorToWrite, writeSafetensors as write } from "./Writer.ts"

export { InvalidFile, IoError, NoSpace } from "../errors.ts"
export * from "./index.ts"
export type { SafetensorsContent, TensorData } from "./Reader.ts"
export type { HfTensor, HfTensors, Shard } from "./SafetensorsDirectory.ts"
export type { TensorToWrite } from "./Writer.ts"

const run = <A, E>(effect: Effect.Effect<A, E, Disk>, { signal }: ReadOptions): Promise<A> => toPromise(Effect.provide(effect, Disk.layer), signal)

/**
 * Open a checkpoint: a directory, a `.safetensors` file or a `.safetensors.index.json`. Every header is read and validated, and held
 * against the index; no data is read and no file stays open.
 */
export const openSafetensors = (path: string, options: ReadOptions = {}): Promise<HfTensors> => run(openDirectory(path), options)

/** The bytes of one tensor of an opened checkpoint: row-major, little endian. */
export const readTensor = (source: HfTensors, name: string, options: ReadOptions = {}): Promise<Uint8Array> => run(reader.readTensor(source, name), options)

/** Every tensor of a file or directory with its bytes. Takes as much memory as the checkpoint has bytes. */
export const readSafetensors = (path: string, options: ReadOptions = {}): Promise<reader.SafetensorsContent> => run(reader.readSafetensors(path), options)

/**
 * Write a file from memory, in the order and with the bytes of the safetensors library (`save_file`), durable and in one step: an
 * existing file is replaced or stays what it was.
 */
export const writeSafetensors = (
  path: string,
  tensors: Iterable<TensorToWrite>,
  { metadata, ...options }: ReadOptions & { readonly metadata?: ReadonlyMap<string, string> } = {}
): Promise<Header> => run(write(path, tensors, metadata), options)
