/** What a Megatron checkpoint directory holds besides its data files, and in which order it is written: the index names the data, the trackers the folder. */
import { encodeMetadata } from "../torch/DcpMetadataWriter.ts"
import type { DcpMetadata } from "../torch/DcpMetadata.ts"
import { BACKEND, COMMON_FILE, iterationOf, METADATA, RUN_CONFIG, TRACKER, TRAIN_STATE, TRAIN_STATE_TRACKER } from "./names.ts"

export type NamedBytes = readonly [name: string, bytes: Uint8Array]

/** Megatron-Core up to 0.18 wants the four-key form and common.pt; later versions read the common_state entry. */
const BACKEND_TEXT = '{"sharded_backend": "torch_dist", "sharded_backend_version": 1, "common_backend": "torch", "common_backend_version": 1}'

export interface FolderContents {
  readonly metadata: DcpMetadata
  /** The bytes of common.pt. */
  readonly common: Uint8Array
  /** Absent for a checkpoint whose run is described by arguments in the common state. */
  readonly runConfig?: string
  /** The bytes of train_state.pt. */
  readonly trainState: Uint8Array
}

/** The small files of a new `iter_*` folder; the index, without which it is none, comes last. */
export const folderFiles = ({ common, metadata, runConfig, trainState }: FolderContents): ReadonlyArray<NamedBytes> => [
  [BACKEND, Buffer.from(BACKEND_TEXT)],
  [COMMON_FILE, common],
  ...(runConfig === undefined ? [] : [[RUN_CONFIG, Buffer.from(runConfig)] as const]),
  [TRAIN_STATE, trainState],
  [METADATA, encodeMetadata(metadata)]
]

/** The files beside a folder that name it: Megatron-Bridge's, then Megatron-LM's. */
export const trackerFiles = (folder: string, trainState: Uint8Array): ReadonlyArray<NamedBytes> => [
  [TRAIN_STATE_TRACKER, trainState],
  [TRACKER, Buffer.from(String(iterationOf(folder) ?? folder))]
]
