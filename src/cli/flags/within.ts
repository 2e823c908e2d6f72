/** Numbers that flags may be. */
import { Option } from "effect"
import { UsageError } from "../../errors.ts"

export const within = (flag: Option.Option<number>, name: string, least: number, most: number): number | undefined => {
  const n = Option.getOrUndefined(flag)
  if (n !== undefined && !(Number.isInteger(n) && n >= least && n <= most)) throw new UsageError({ problem: `--${name} ${n}: between ${least} and ${most}` })
  return n
}
