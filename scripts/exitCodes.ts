/** What the exit codes mean, for the pages that say so. */
import { ExitCode } from "../src/errors.ts"

const MEANINGS: Readonly<Record<keyof typeof ExitCode, string>> = {
  ok: "done; verify, roundtrip and diff: equal; doctor: nothing that a loader would stumble over",
  different: "differences, or something that a loader would stumble over",
  usage: "flags that make no sense",
  input: "an input that is not what it should be",
  unsupported: "sound, but asks for what does not exist here",
  output: "the target exists, or another process holds it",
  space: "no space",
  io: "the operating system refused a call",
  cluster: "the processes of a job did not find each other, or lost each other",
  peer: "another process of the job failed first"
}

export const exitCodes: ReadonlyArray<readonly [code: string, meaning: string]> = [
  ...(Object.keys(MEANINGS) as ReadonlyArray<keyof typeof ExitCode>).map((name) => [String(ExitCode[name]), MEANINGS[name]] as const),
  ["70", "a bug of ours"],
  ["129, 130, 143", "interrupted by SIGHUP, SIGINT, SIGTERM; nothing was published"]
]
