/** Whether a file belongs to the directory it is found in: names and links in a directory from a stranger may lead anywhere. */
import { basename, dirname, join, sep } from "node:path"

/** Where the snapshots of a Hugging Face cache (`<repo>/snapshots/<revision>/…`) keep their content: `<repo>/blobs`. */
const blobsOf = (directory: string): string | undefined => {
  for (let at = directory; at !== dirname(at); at = dirname(at)) {
    if (basename(dirname(at)) === "snapshots") return join(dirname(dirname(at)), "blobs")
  }
  return undefined
}

/** `file` lies below `directory`, or is a blob of the Hugging Face cache that `directory` is a snapshot in. Both are real paths. */
export const isInside = (directory: string, file: string): boolean =>
  file.startsWith(directory.endsWith(sep) ? directory : directory + sep) || dirname(file) === blobsOf(directory)
