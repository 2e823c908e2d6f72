/**
 * TensorFlow.js as a driver, where it is installed: the native library with or without a GPU, or its WebAssembly. It has no 16-bit floats;
 * weights are widened before they are handed over.
 */
import util from "node:util"
import type { Arithmetic } from "./Arithmetic.ts"
import { productSizes } from "./Arithmetic.ts"
import { widened } from "./convert.ts"
import { withProduct } from "./plain.ts"

interface Tensor {
  readonly dataSync: () => Float32Array<ArrayBuffer>
  readonly dispose: () => void
}

/** What is used of its interface; the packages are optional, and so are their types. */
interface Tensorflow {
  readonly tensor2d: (values: Float32Array, shape: readonly [number, number]) => Tensor
  readonly matMul: (a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean) => Tensor
  readonly transpose: (x: Tensor) => Tensor
  readonly setBackend: (name: string) => Promise<boolean>
  readonly ready: () => Promise<void>
}

/** The interface of a package, whose own module may be CommonJS. */
const load = async (name: string): Promise<Tensorflow> => {
  const module = await import(name) as Tensorflow & { readonly default?: Tensorflow }
  return module.default ?? module
}

/** Functions that the package calls and Node 23 dropped. */
const restoreOldUtilities = (): void => {
  const old = util as { isNullOrUndefined?: (x: unknown) => boolean; isArray?: (x: unknown) => boolean }
  old.isNullOrUndefined ??= (x) => x === null || x === undefined
  old.isArray ??= Array.isArray
}

/** The native library reads these when it is loaded: no chatter, and no GPU product in less than F32. */
const SETTINGS = { TF_CPP_MIN_LOG_LEVEL: "2", NVIDIA_TF32_OVERRIDE: "0" }

const native = (name: string) => async (): Promise<Tensorflow> => {
  restoreOldUtilities()
  for (const [variable, value] of Object.entries(SETTINGS)) process.env[variable] ??= value
  const tf = await load(name)
  await tf.ready()
  return tf
}

const wasm = async (): Promise<Tensorflow> => {
  const tf = await load("@tensorflow/tfjs-core")
  await import("@tensorflow/tfjs-backend-wasm" as string)
  if (!await tf.setBackend("wasm")) throw new Error("its WebAssembly does not start")
  await tf.ready()
  return tf
}

/** The forms of tfjs, by the package that each needs, in the order in which they are tried. */
export const TFJS = [
  { name: "tfjs-node-gpu", package: "@tensorflow/tfjs-node-gpu", open: native("@tensorflow/tfjs-node-gpu"), native: true },
  { name: "tfjs-node", package: "@tensorflow/tfjs-node", open: native("@tensorflow/tfjs-node"), native: true },
  { name: "tfjs-wasm", package: "@tensorflow/tfjs-backend-wasm", open: wasm, native: false }
] as const

/** Its WebAssembly multiplies by a transposed matrix in plain loops, a tenth as fast; transposing takes as long as that for so many rows. */
const WORTH_TRANSPOSING = 32

/** One of {@link TFJS}. */
export type TfjsForm = (typeof TFJS)[number]

/**
 * A driver of an opened form. Each product is accumulated in F32, in an order of the library's own. All forms of one process compute with
 * the one that was opened last.
 */
export const tfjsArithmetic = ({ name, native: own }: TfjsForm, tf: Tensorflow): Arithmetic =>
  withProduct(name, (call) => {
    const { k, m, n } = productSizes(call)
    if (m * n * k === 0) return new Float32Array(m * n)
    const held: Array<Tensor> = []
    const hold = (tensor: Tensor): Tensor => {
      held.push(tensor)
      return tensor
    }
    try {
      const a = hold(tf.tensor2d(call.a, [m, k]))
      const b = hold(tf.tensor2d(widened(call.b), [call.b.rows, call.b.columns]))
      const apart = call.transposed && !own && m >= WORTH_TRANSPOSING
      return hold(tf.matMul(a, apart ? hold(tf.transpose(b)) : b, false, call.transposed && !apart)).dataSync()
    } finally {
      for (const tensor of held) tensor.dispose()
    }
  })
