import { expect } from "vitest"
import { UsageError } from "../../src/errors.ts"

/** The whole message of the UsageError that `run` throws. */
export const refusal = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError)
    return (error as UsageError).message
  }
  throw new Error("nothing was refused")
}
