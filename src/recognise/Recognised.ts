/**
 * What a directory or a set of tensors is, told by names alone: the frameworks and tools whose files are often taken for what is
 * read here. Each comes with the next step. Nothing is converted by such a guess: it makes an error or a remark readable.
 */
import { quote, quotePath, Unsupported } from "../errors.ts"

export interface Recognised {
  /** Stable identifier, e.g. `peft-adapter`. */
  readonly kind: string
  /** What it is: "this is …". */
  readonly what: string
  /** What to do. */
  readonly next: string
  /** `relabel --to` this mends it. */
  readonly relabel?: "plain" | "grouped"
  /** A name by which it was recognised. */
  readonly example?: string
}

/** `this is … (its names are like base_model.model.lm_head.weight)` */
export const described = ({ example, what }: Recognised): string => (example === undefined ? what : `${what} (a name: ${quote(example)})`)

/** The refusal; `command` is what a user can paste. */
export const refusal = (path: string, found: Recognised, command?: string): Unsupported =>
  new Unsupported({ code: "unsupported/recognised", what: path, problem: described(found), hint: command === undefined ? found.next : `${found.next}\n  ${command}` })

/** For reports and findings: the same in one line. */
export const remark = (path: string, found: Recognised): string => `${quotePath(path)}: ${described(found)}. ${found.next}`
