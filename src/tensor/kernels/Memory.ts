/** Typed views of one buffer. Kernels address it by byte; an address must be a multiple of the element's size. */
export interface Memory {
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly u32: Uint32Array
  readonly f32: Float32Array
  readonly f64: Float64Array
}

/** Views of a buffer whose length is a multiple of 8. */
export const memoryOf = (buffer: ArrayBufferLike): Memory => ({
  u8: new Uint8Array(buffer),
  u16: new Uint16Array(buffer),
  u32: new Uint32Array(buffer),
  f32: new Float32Array(buffer),
  f64: new Float64Array(buffer)
})
