/** What `doctor` finds, as plain data: one entry for each problem, with what to do about it. */

/** `error`: a loader fails, or succeeds with the wrong weights; `warning`: it may; `note`: worth knowing; `ok`: looked at, sound. */
export type Severity = "error" | "warning" | "note" | "ok"

/** One thing that was found, how bad it is, and what mends it. */
export interface Diagnosis {
  /** Stable identifier, e.g. `no-tracker`. */
  readonly code: string
  readonly severity: Severity
  readonly text: string
  /** What mends it, in words. */
  readonly fix?: string
  /** The same for a shell, ready to be pasted. */
  readonly command?: string
  /** Tensors or files it is about, all of them. */
  readonly names?: ReadonlyArray<string>
}

export const diagnosis = (
  severity: Severity,
  code: string,
  text: string,
  more: { readonly fix?: string; readonly command?: string | undefined; readonly names?: ReadonlyArray<string> } = {}
): Diagnosis => {
  const { command, ...rest } = more
  return { code, severity, text, ...rest, ...(command === undefined ? {} : { command }) }
}

const ORDER: Readonly<Record<Severity, number>> = { error: 0, warning: 1, note: 2, ok: 3 }

/** Worst first. */
export const bySeverity = (all: ReadonlyArray<Diagnosis>): ReadonlyArray<Diagnosis> =>
  [...all].sort((a, b) => ORDER[a.severity] - ORDER[b.severity])
