import { FormatError, parseHeader } from "megatron-mimo-bridge/safetensors"

// A download that ended early: the header promises four bytes of data, two are there.
const json = '{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
const file = Uint8Array.from([json.length, 0, 0, 0, 0, 0, 0, 0, ...new TextEncoder().encode(json), 1, 2])

try {
  parseHeader(file)
} catch (error) {
  if (!(error instanceof FormatError)) throw error
  console.log(error.code, error.place.tensor, error.place.offset)
  console.log(error.message)
}
