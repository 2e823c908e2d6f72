/** May this job go on with what an interrupted run left? */
import { OutputRefused, quote } from "../../errors.ts"
import type { Owner } from "../staging/owner.ts"
import { changesBetween, type Fingerprint } from "./Fingerprint.ts"

/** ` (process 1, started …)`, where it is known. */
export const previousProcess = (previous: Owner | undefined): string => (previous ? ` (process ${previous.pid}, started ${previous.since})` : "")

/** @throws OutputRefused `output/other-job` */
export const requireSameJob = (shown: string, before: Fingerprint, now: Fingerprint, since: string): void => {
  const changes = changesBetween(before, now)
  if (changes.length === 0) return
  throw new OutputRefused({
    path: shown,
    code: "output/other-job",
    problem: `what an interrupted run left${since} cannot be continued: ${changes.slice(0, 5).map(quote).join(", ")}${changes.length > 5 ? ", …" : ""} changed since`,
    hint: "Without --resume the work starts over."
  })
}
