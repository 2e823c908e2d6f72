/** What would be sent to a bucket or to the Hub, for plans. */
import { quote } from "../../errors.ts"
import { hubStagingDirectory } from "../../remote/environment.ts"
import { schemeOf } from "../../remote/place.ts"
import { partSize } from "../../remote/s3/S3Upload.ts"
import { stateDirectory } from "./place.ts"

/** Nothing for a directory. */
export const sendingNotes = (target: string, files: ReadonlyArray<{ readonly bytes: number }>, createPr = false): ReadonlyArray<string> => {
  if (schemeOf(target) === "hf") {
    const size = files.reduce((sum, { bytes }) => sum + bytes, 0)
    return [`to ${target}: one commit${createPr ? ", as a pull request," : ""} of ${files.length} files (${(size / 1e9).toFixed(2)} GB) and the small ones; all of it is first written below ${quote(hubStagingDirectory())} (HF_HOME), where there must be room`]
  }
  if (schemeOf(target) !== "s3") return []
  const parts = files.reduce((sum, { bytes }) => sum + Math.ceil(bytes / partSize(bytes)), 0)
  const size = files.reduce((sum, { bytes }) => sum + bytes, 0)
  return [
    `to ${target}: ${files.length} files are uploaded while they are produced, in ${parts} parts (${(size / 1e9).toFixed(2)} GB); when all are there they become objects, ` +
    `then small files, the index and trackers follow, each only where nothing is. On this machine only a journal is written, in ${quote(stateDirectory())}`
  ]
}
