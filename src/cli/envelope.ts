/** What every JSON document on stdout begins with. docs/schemas describes the rest, command by command. */

/** Grows when a field changes its meaning or goes; new fields may come without. */
export const SCHEMA = 1

export type CommandName =
  | "import" | "export" | "verify" | "roundtrip" | "plan" | "inspect" | "diff" | "report" | "relabel" | "reshard" | "merge-iterations" | "prune" | "doctor" | "models" | "sample" | "scaffold"
  | "flops" | "memory" | "layout" | "setup" | "adapter" | "forward" | "uploads" | "serve" | "publish" | "pull" | "push"

export interface Success {
  /** The command did its work; what it found may still end it with exit code 1. */
  readonly ok: true
  readonly command: CommandName
  readonly schema: typeof SCHEMA
  /** 1: it found differences (`verify`, `roundtrip`, `diff`) or what a loader would stumble over (`doctor`). */
  readonly exitCode: 0 | 1
}

export const success = (command: CommandName, exitCode: 0 | 1): Success => ({ ok: true, command, schema: SCHEMA, exitCode })

/** Of an error. `command`: the word that was typed, if there was one. */
export const failureEnvelope = (command: string | undefined, exitCode: number): object =>
  ({ ok: false, ...(command === undefined ? {} : { command }), schema: SCHEMA, exitCode })
