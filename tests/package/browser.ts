// Type-checked without the types of Node: what a page does with a file that its user chose.
import { type FormatError, fromBlob, readHeader } from "megatron-mimo-bridge/safetensors"

declare const file: File
const { tensors } = await readHeader(fromBlob(file))
export const names: ReadonlyArray<string> = tensors.map(({ name }) => name)
export const codeOf = (error: FormatError): string => error.code
