/** Whole files as targets of the engine. */
import type { SourceArray, TargetFile } from "../engine/Target.ts"
import { identity } from "../tensor/Copy.ts"
import type { SideFile } from "./sideFiles.ts"

const COPY = "copy:"

/** A file under its own name, byte for byte. */
export const copyFile = ({ name, size }: SideFile): TargetFile => ({
  name,
  size,
  segments: [{ kind: "array", array: { id: name, dtype: "U8", shape: [size], copies: [identity(COPY + name, name, [size])] }, crc: false }]
})

/** What {@link copyFile} reads; undefined for any other id. */
export const copySource = (files: ReadonlyArray<SideFile>, id: string): SourceArray | undefined => {
  const file = id.startsWith(COPY) ? files.find((f) => COPY + f.name === id) : undefined
  return file && { path: file.path, offset: 0, dtype: "U8", shape: [file.size] }
}
