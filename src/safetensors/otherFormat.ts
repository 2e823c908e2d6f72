/**
 * Files that bear the name of a safetensors file and are something else that can be told by its first bytes. Such a file
 * would be refused for a header of absurd length, which says nothing to the person who has it.
 */

import { InvalidFile } from "../errors.ts"

/** As many bytes of the file's start are looked at. */
export const START_BYTES = 24

export interface OtherFormat {
  readonly problem: string
  readonly hint: string
}

const DOWNLOAD = "Download the file again."

const KNOWN: ReadonlyArray<readonly [start: string, problem: string, hint: string]> = [
  ["version https://git-lfs", "is a Git LFS pointer, not the file it points to", "`git lfs pull` fetches the file."],
  ["<!DOCTYPE", "is an HTML page, not safetensors", DOWNLOAD],
  ["<!doctype", "is an HTML page, not safetensors", DOWNLOAD],
  ["<html", "is an HTML page, not safetensors", DOWNLOAD],
  ["GGUF", "is a GGUF model, not safetensors", "Convert the original weights, not their GGUF form."],
  ["PK\u0003\u0004", "is a ZIP archive, not safetensors, perhaps of torch.save", "Convert the weights to safetensors first; pickles are not read."],
  ["\u0080\u0002", "is a pickle, not safetensors", "Convert the weights to safetensors first; pickles are not read."],
  ["\u001f\u008b", "is compressed (gzip), not safetensors", "Unpack it first."],
  ["(\u00b5/\u00fd", "is compressed (zstd), not safetensors", "Unpack it first."]
]

/** Eight printable bytes are no length: as a number they are more than any header may have. */
const TEXT = /^\{[\t\n\r -~]{7}/

/** Where the JSON begins. */
const JSON_AT = 8

/** What the file is, if its first bytes say so and no header follows them. */
export const otherFormat = (start: Uint8Array): OtherFormat | undefined => {
  const text = Buffer.from(start.buffer, start.byteOffset, start.byteLength).toString("latin1")
  // Any eight bytes may be a length.
  if (text[JSON_AT] === "{") return undefined
  if (TEXT.test(text)) return { problem: "is JSON, not safetensors, perhaps the answer of a server", hint: DOWNLOAD }
  return known(text, "safetensors")
}

/** InvalidFile `json/other-format` if a file that should be JSON is something else that is known by its first bytes. */
export const refuseOtherThanJson = (path: string, bytes: Uint8Array): void => {
  const other = known(Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(START_BYTES, bytes.byteLength)).toString("latin1"), "JSON")
  if (other) throw new InvalidFile({ path, code: "json/other-format", problem: other.problem, place: { offset: 0 }, hint: other.hint })
}

const known = (text: string, wanted: string): OtherFormat | undefined => {
  const found = KNOWN.find(([magic]) => text.startsWith(magic))
  return found && { problem: found[1].replace("safetensors", wanted), hint: found[2] }
}
