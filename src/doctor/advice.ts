/** What to do about an error of a Hugging Face directory that a conversion would stop at. */
import { type BridgeError } from "../errors.ts"

const AGAIN = "Download the file again, and compare its size and hash with the publisher's."
const PATHS = "Put the file itself, or a hard link, in its place, under a plain name inside the directory."
const INDEX = "Take the index that belongs to these files from the publisher."

/** By code, or by what codes begin with; the first that fits. */
const ADVICE: ReadonlyArray<readonly [code: string, advice: string]> = [
  ["safetensors/no-weights", "Name a directory with safetensors weights."],
  ["safetensors/ambiguous", "Download model.safetensors.index.json of the model: without it nothing says which files belong together; or name the file that is meant."],
  ["safetensors/index-missing-tensor", `The index places a tensor where it is not. ${INDEX}`],
  ["safetensors/index-unlisted-tensor", `A shard holds more than the index lists: loaders ignore it. ${INDEX}`],
  ["safetensors/index-shard-name", "Correct the shard names in the index: plain paths inside the directory, without ./ or ../."],
  ["safetensors/index-", INDEX],
  ["safetensors/missing-shard", "Download the missing file; transformers would stop, other loaders leave random values."],
  ["safetensors/link-escapes", PATHS],
  ["safetensors/not-a-", PATHS],
  ["safetensors/dtype", "Write the file again without that tensor, or with a dtype that safetensors has."],
  ["safetensors/changed", "Run it again when nobody writes there."],
  ["safetensors/", AGAIN],
  ["file/", "Check the path."],
  ["json/", AGAIN],
  ["config/no-architecture", "Take config.json from the publisher, or write the name of the model's class into architectures."],
  ["config/", "Take config.json from where the weights come from."],
  ["document/", "Take config.json from where the weights come from."],
  ["quantized/", "Check that all shards belong to one model."],
  ["plan/", "Take config.json and all shards from one place."]
]

/** The error's own hint says it best; else what its code stands for. */
export const adviceFor = (error: BridgeError): string => {
  if (error.hint !== undefined) return error.hint
  return ADVICE.find(([start]) => error.code.startsWith(start))?.[1] ?? "See docs/errors.md."
}
