import { fromUrl, readHeader, readTensorBytes } from "megatron-mimo-bridge/safetensors"

// Two small requests, whatever the size of the model: its header, and one tensor.
const source = await fromUrl("https://huggingface.co/Qwen/Qwen3-0.6B/resolve/main/model.safetensors")
const { tensors } = await readHeader(source)
console.log(`${tensors.length} tensors in ${source.size} bytes`)

const norm = tensors.find(({ name }) => name === "model.norm.weight")
if (norm) {
  const bytes = await readTensorBytes(source, norm)
  console.log(norm.dtype, norm.shape, `${bytes.byteLength} bytes`)
}
