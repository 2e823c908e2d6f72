// Preloaded (`--import`) into an example that reads from a server: this one answers, with a file of two tensors.
const header = JSON.stringify({
  "lm_head.weight": { dtype: "BF16", shape: [8, 4], data_offsets: [0, 64] },
  "model.norm.weight": { dtype: "BF16", shape: [4], data_offsets: [64, 72] }
})
const file = new Uint8Array(8 + header.length + 72)
new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true)
file.set(new TextEncoder().encode(header), 8)

globalThis.fetch = async (_, { headers }) => {
  const [first, last] = /(\d+)-(\d+)/.exec(headers.Range).slice(1).map(Number)
  const end = Math.min(last, file.length - 1)
  return new Response(file.slice(first, end + 1), { status: 206, headers: { "Content-Range": `bytes ${first}-${end}/${file.length}` } })
}
