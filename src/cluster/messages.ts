/**
 * What the processes of a job say to each other: small JSON objects, each with the run and the attempt it belongs to. Everything is
 * bounded, here or by {@link LARGEST_MESSAGE}.
 */
import { z } from "zod"
import { ClusterError, quote } from "../errors.ts"
import { parseJson } from "../document/StrictJson.ts"
import { MAX_RANKS } from "../parallel/ModuleParallelism.ts"

/** Changes with every change of the messages. */
export const PROTOCOL = 2

/** Bytes of a frame. Weights never travel here. */
export const LARGEST_MESSAGE = 1 << 20

/** Units of one piece of work; a checkpoint of 2 TB has some 10⁵ arrays. */
const MOST_UNITS = 4_194_304

const LONGEST_TEXT = 4000
const LONGEST_NAME = 300
const DEEPEST_VALUE = 32
const MOST_RUNS = 65_536

const rank = z.int().min(0).max(MAX_RANKS - 1)
const name = z.string().max(LONGEST_NAME)
const text = z.string().max(LONGEST_TEXT)
const unit = z.int().min(0).max(MOST_UNITS - 1)
const bytes = z.number().min(0).max(Number.MAX_SAFE_INTEGER)
const runs = z.array(z.tuple([rank, z.int().min(1).max(MAX_RANKS), z.int().min(1).max(MAX_RANKS)])).min(1).max(MOST_RUNS)
const value = z.unknown()

/** Why the job ended: what the first process to fail said of itself. */
export const failureSchema = z.object({
  rank,
  host: name,
  code: name,
  problem: text,
  exitCode: z.int().min(0).max(255),
  file: text.optional(),
  tensor: text.optional(),
  hint: text.optional()
})
export type JobFailure = z.infer<typeof failureSchema>

const helloSchema = z.object({
  is: z.literal("hello"), protocol: z.int(), version: name, rank, world: z.int().min(1).max(MAX_RANKS), pid: z.int().min(0), host: name, plan: name,
  /** Of this process alone: the same process may say hello again, another one of the same rank may not. */
  nonce: name
})

const stepKinds = ["barrier", "broadcast", "gather", "allGather", "agree"] as const
export type StepKind = typeof stepKinds[number]

const toCoordinator = z.discriminatedUnion("is", [
  helloSchema,
  z.object({ is: z.literal("step"), key: name, kind: z.enum(stepKinds), what: name, members: runs, value, timeout: z.number().min(0) }),
  z.object({ is: z.literal("open"), work: name, sizes: z.array(bytes).max(MOST_UNITS), owners: z.array(rank).max(MOST_UNITS) }),
  z.object({ is: z.literal("take"), work: name, units: z.int().min(0).max(MOST_UNITS) }),
  z.object({ is: z.literal("done"), work: name, unit, value }),
  /** Of a unit that another process has done; nothing of it is under way. */
  z.object({ is: z.literal("leaveOff"), work: name, unit }),
  z.object({ is: z.literal("results"), work: name, timeout: z.number().min(0) }),
  z.object({ is: z.literal("beat"), done: bytes }),
  z.object({ is: z.literal("fail"), failure: failureSchema }),
  z.object({ is: z.literal("leave") })
])
export type ToCoordinator = z.infer<typeof toCoordinator>

const toMember = z.discriminatedUnion("is", [
  z.object({ is: z.literal("welcome") }),
  z.object({ is: z.literal("refused"), code: name, problem: text }),
  z.object({ is: z.literal("release"), key: name, value }),
  z.object({ is: z.literal("late"), key: name, problem: text }),
  z.object({ is: z.literal("unit"), work: name, unit: unit.nullable() }),
  z.object({ is: z.literal("accepted"), work: name, unit, accepted: z.boolean() }),
  /** Another process has done the unit. */
  z.object({ is: z.literal("superseded"), work: name, unit }),
  z.object({ is: z.literal("results"), work: name, values: z.array(value).max(MOST_UNITS) }),
  z.object({ is: z.literal("beat") }),
  z.object({ is: z.literal("stop"), failure: failureSchema }),
  z.object({ is: z.literal("bye") })
])
export type ToMember = z.infer<typeof toMember>

const envelope = z.object({ run: name, attempt: z.int().min(0) })
export type Envelope = z.infer<typeof envelope>

export const encode = (run: Envelope, message: ToCoordinator | ToMember): string => JSON.stringify({ run: run.run, attempt: run.attempt, ...message })

/** @throws ClusterError `cluster/protocol` */
const decoder = <T>(schema: z.ZodType<T>, whose: string) => (data: string): Envelope & { readonly message: T } => {
  let document: unknown
  try {
    document = parseJson(Buffer.from(data, "utf8"), { maxDepth: DEEPEST_VALUE, maxValues: 2 * MOST_UNITS })
  } catch (error) {
    throw new ClusterError({ code: "cluster/protocol", problem: `a message of ${whose} is no JSON: ${quote((error as Error).message)}` })
  }
  const run = envelope.safeParse(document)
  const message = schema.safeParse(document)
  if (!run.success || !message.success) {
    const issue = (run.error ?? message.error)!.issues[0]!
    throw new ClusterError({ code: "cluster/protocol", problem: `a message of ${whose} is not one of this version: ${quote(`${issue.path.join(".")}: ${issue.message}`)}` })
  }
  return { ...run.data, message: message.data }
}

export const decodeToCoordinator = decoder(toCoordinator, "a process")
export const decodeToMember = decoder(toMember, "the coordinator")
