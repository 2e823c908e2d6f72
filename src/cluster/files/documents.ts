/** What processes that meet in files leave for each other: names, shapes. {@link FileMember} says what each is for. */
import { z } from "zod"
import type { DiskCalls } from "../../io/Disk.ts"
import type { Limits } from "../limits.ts"
import type { Envelope } from "../messages.ts"
import type { Board } from "./Board.ts"

export interface FileJob {
  readonly disk: DiskCalls
  readonly directory: string
  readonly run: Envelope
  readonly rank: number
  readonly world: number
  readonly plan: string
  readonly version: string
  readonly limits: Limits
}

/** Where all sessions of a run meet. */
export interface RunFolder {
  readonly path: string
  readonly board: Board
  /** What is to be said of the file system. */
  readonly notes: Set<string>
}

export const sessionSchema = z.object({ session: z.uuid(), attempt: z.int() })
export const hereSchema = z.object({ host: z.string(), plan: z.string(), version: z.string(), world: z.int() })
export const beatSchema = z.object({ count: z.int(), done: z.number() })
export const postSchema = z.object({ kind: z.string(), what: z.string(), size: z.int(), value: z.unknown() })
export const doneSchema = z.array(z.tuple([z.int(), z.unknown()]))

export const SESSION = "session.json"
export const WELCOME = "welcome.json"
export const FAILED = "failed.json"

/** What is on the board, if it is of this shape. */
export const found = async <A>(board: Board, name: string, schema: z.ZodType<A>): Promise<A | undefined> => {
  const document = await board.get(name)
  const value = document && schema.safeParse(document.value)
  return value?.success ? value.data : undefined
}

/** That a rank needs nothing more. */
export const leftName = (rank: number): string => `left.${rank}.json`

/** All ranks but 0. */
export const othersOf = ({ world }: FileJob): ReadonlyArray<number> => Array.from({ length: world - 1 }, (_, index) => index + 1)
