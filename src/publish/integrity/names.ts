/**
 * The checksums of a checkpoint, in the folder that holds its data. Megatron reads the files that `.metadata` and `metadata.json`
 * name, transformers those of the index: neither asks for this one, and uploads and copies take it along.
 */
export const CHECKSUMS = ".checksums.json"
