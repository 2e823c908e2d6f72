/** The name of what the operating system said. */
import { constants } from "node:os"

/** libuv gives errors that it does not know, EDQUOT and ESTALE among them, no name but their number, negated. */
const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]))

/** `EIO`, `EDQUOT` …; `EUNKNOWN` if not even the system's own list names it. */
export const errnoOf = (error: unknown): string => {
  const { code, errno } = error as NodeJS.ErrnoException
  if (code !== undefined && /^E[A-Z0-9]+$/.test(code)) return code
  return (errno === undefined ? undefined : NAMES.get(Math.abs(errno))) ?? "EUNKNOWN"
}
