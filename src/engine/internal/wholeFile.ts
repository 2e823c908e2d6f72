/** A file that is to be the copy of another one. */
import { identity } from "../../tensor/Copy.ts"
import type { SourceArray, TargetFile } from "./Target.ts"

/** `name`: relative to the directory of the execution. */
export const wholeFile = ({ name, path, size }: { readonly name: string; readonly path: string; readonly size: number }): TargetFile => {
  const source: SourceArray = { path, offset: 0, dtype: "U8", shape: [size] }
  return { name, size, segments: [{ kind: "array", array: { id: name, dtype: "U8", shape: [size], copies: () => [identity(source, name, [size])] }, crc: false }] }
}
