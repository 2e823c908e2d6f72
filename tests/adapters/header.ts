/** The tensors of a small safetensors file, read apart from the program's own reader. */
export interface FileTensor {
  readonly name: string
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly bytes: Uint8Array
}

export const parseHeader = (file: Uint8Array): ReadonlyArray<FileTensor> => {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true))
  const header = JSON.parse(Buffer.from(file.subarray(8, 8 + length)).toString()) as Record<string, { readonly dtype: string; readonly shape: ReadonlyArray<number>; readonly data_offsets: readonly [number, number] }>
  return Object.entries(header).filter(([name]) => name !== "__metadata__").map(([name, { data_offsets: [begin, end], dtype, shape }]) =>
    ({ name, dtype, shape, bytes: file.subarray(8 + length + begin, 8 + length + end) }))
}
