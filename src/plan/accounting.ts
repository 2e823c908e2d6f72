/**
 * The accounting of a plan, the same in both directions: a tensor of either space that the plan does not use is left behind for
 * a reason that the report gives, or nothing accounts for it and the plan is refused.
 */
import { PlanRefused } from "../errors.ts"
import { type Shape, volume } from "../tensor/Copy.ts"
import { bytesOf, type DType } from "../tensor/DType.ts"

export interface LeftBehind {
  readonly tensor: string
  readonly bytes: number
  readonly reason: string
}

/** A tensor that the plan does not use. */
export interface Unused {
  readonly name: string
  readonly bytes: number
}

export interface Accounting {
  readonly leftBehind: ReadonlyArray<LeftBehind>
  /** What nothing accounts for; the caller knows how to say where it is. */
  readonly unmapped: ReadonlyArray<string>
}

export const MTP_DROPPED = "multi-token prediction was dropped (--mtp drop)"
export const ALLOWED = "matches --allow-unmapped"

/** Tensors that travel beside the model for one reason. */
export interface CarriedGroup {
  readonly why: string
  readonly tensors: ReadonlyArray<string>
}

export const ROUNDED = "arithmetic rounds them on their way into the model, and back"
export const ACTIVATION_SCALES_REASON = "scales of activations, which the model's weights do not need"

/** Carried tensors by their reason, in the order of the reasons' first tensors. */
export const carriedGroups = (names: Iterable<string>, whyOf: (name: string) => string): ReadonlyArray<CarriedGroup> =>
  Array.from(Map.groupBy(names, whyOf), ([why, tensors]) => ({ why, tensors }))

/** `reasonOf`: why a tensor stays behind; undefined if there is no reason. */
export const account = (unused: Iterable<Unused>, reasonOf: (name: string) => string | undefined): Accounting => {
  const leftBehind: Array<LeftBehind> = []
  const unmapped: Array<string> = []
  for (const { bytes, name } of unused) {
    const reason = reasonOf(name)
    if (reason === undefined) unmapped.push(name)
    else leftBehind.push({ tensor: name, bytes, reason })
  }
  return { leftBehind, unmapped }
}

/** Bytes of the elements of some tensors. */
export const bytesOfTensors = (tensors: Iterable<{ readonly dtype: DType; readonly shape: Shape }>): number => {
  let sum = 0
  for (const { dtype, shape } of tensors) sum += volume(shape) * bytesOf(dtype)
  return sum
}

/** PlanRefused `plan/dtypes` for integers where the model has floating-point values: they are codes without scales, or no weights at all. */
export const refuseIntegers = (wrong: ReadonlyArray<string>, where: (wrong: ReadonlyArray<string>) => string, hint?: string): void => {
  if (wrong.length === 0) return
  throw new PlanRefused({
    code: "plan/dtypes",
    problem: `${wrong.length === 1 ? "a tensor" : `${wrong.length} tensors`} of ${where(wrong)} would have to be floating-point values`,
    names: wrong,
    ...(hint === undefined ? {} : { hint })
  })
}
