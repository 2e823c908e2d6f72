/**
 * Work orders: what rank 0 has planned, for the others, who then need no plan of their own.
 *
 * ```text
 * NAME          one JSON document for each unit of work, one after the other
 * NAME.index    where each lies, its SHA-256, its bytes of work and its first owner; what all of them have in common
 * ```
 *
 * **Details**
 *
 * Both lie in a directory that all processes see. Their name and the SHA-256 of the index travel over the control plane: what is in the
 * files counts only if it is what rank 0 has written. A process reads the index and the orders of the units that it takes.
 */
import { createHash } from "node:crypto"
import { join } from "node:path"
import { z, type ZodType } from "zod"
import { decodeJson } from "../document/decode.ts"
import { ClusterError, quote } from "../errors.ts"
import { type DiskCalls, writeFully } from "../io/Disk.ts"
import { writeSmall } from "../io/small.ts"
import { readFully, type Store } from "../store/Store.ts"

/** A unit of a gigabyte has an order of some tens of kilobytes; of one that is all small tensors, megabytes. */
const LARGEST_ORDER = 256 << 20
/** 100 bytes for each of 65 536 ranks' eight units, and the sources. */
const LARGEST_INDEX = 256 << 20
const LIMITS = { maxBytes: LARGEST_ORDER, maxDepth: 16, maxValues: 20_000_000 } as const
/** Written at once; in between the process gives signs of life. */
const BUFFER = 1 << 20

const count = z.int().nonnegative()
const digest = z.string().regex(/^[0-9a-f]{64}$/)

/** What the others are told of the files. */
export const ordersPlaceSchema = z.object({
  /** In the directory. */
  name: z.string().regex(/^[a-z0-9.]{1,64}$/),
  /** Bytes and SHA-256 of the index. */
  bytes: count.max(LARGEST_INDEX),
  sha256: digest
})
export type OrdersPlace = z.infer<typeof ordersPlaceSchema>

/** Of one order: where it is, and what is known of its unit without it. */
const entrySchema = z.tuple([count, count.max(LARGEST_ORDER), digest, count, count])
type OrderEntry = z.infer<typeof entrySchema>

const indexSchema = z.object({ orders: z.array(entrySchema), common: z.unknown() })

/** A unit of work as the index has it. */
export interface OrderedUnit {
  readonly bytes: number
  readonly owner: number
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

const tooLarge = (what: string, bytes: number, most: number): ClusterError =>
  new ClusterError({ code: "cluster/too-large", problem: `${what} has ${bytes} bytes; at most ${most} are read` })

/**
 * Write the order of each unit, in their order, and the index; both are durable when this returns. `common` is asked for last.
 *
 * @throws ClusterError `cluster/too-large`; IoError, NoSpace
 */
export const writeOrders = async <U extends OrderedUnit>(
  disk: DiskCalls,
  directory: string,
  name: string,
  units: ReadonlyArray<U>,
  orderOf: (unit: U) => unknown,
  common: () => Promise<unknown>
): Promise<OrdersPlace> => {
  const entries: Array<OrderEntry> = []
  const file = await disk.open(join(directory, name), "create")
  try {
    let [at, pending, held] = [0, [] as Array<Uint8Array>, 0]
    const write = async (): Promise<void> => {
      await writeFully(file, Buffer.concat(pending), at)
      at += held
      pending = []
      held = 0
    }
    for (const unit of units) {
      const bytes = Buffer.from(JSON.stringify(orderOf(unit)))
      if (bytes.byteLength > LARGEST_ORDER) throw tooLarge(`the order of a unit of ${unit.bytes} bytes of work`, bytes.byteLength, LARGEST_ORDER)
      entries.push([at + held, bytes.byteLength, sha256(bytes), unit.bytes, unit.owner])
      pending.push(bytes)
      held += bytes.byteLength
      if (held >= BUFFER) await write()
    }
    await write()
    await file.sync()
  } finally {
    await file.close()
  }
  const index = Buffer.from(JSON.stringify({ orders: entries, common: await common() } satisfies z.infer<typeof indexSchema>))
  if (index.byteLength > LARGEST_INDEX) throw tooLarge("the index of the work orders", index.byteLength, LARGEST_INDEX)
  await writeSmall(disk, join(directory, indexOf(name)), index)
  return { name, bytes: index.byteLength, sha256: sha256(index) }
}

const indexOf = (name: string): string => `${name}.index`

/** `bytes` bytes from `position` of a file on. @throws ClusterError `cluster/orders` if they are not those that rank 0 has written; IoError */
const readExactly = async (store: Store, path: string, position: number, bytes: number, expected: string): Promise<Uint8Array> => {
  const file = await store.open(path, "read")
  try {
    const size = (await file.info()).size
    if (position + bytes > size) throw notTheirs(path, `has ${size} bytes, and not what rank 0 has written`)
    const found = new Uint8Array(bytes)
    await readFully(file, found, position)
    if (sha256(found) !== expected) throw notTheirs(path, `is not, from byte ${position} on, what rank 0 has written`)
    return found
  } finally {
    await file.close()
  }
}

const notTheirs = (path: string, how: string): ClusterError => new ClusterError({
  code: "cluster/orders",
  problem: `${quote(path)} ${how}`,
  hint: "All processes must see the same directory, and nothing else may write into it."
})

/** The orders of a job, at a process that carries some of them out. */
export class WorkOrders<C> {
  readonly common: C
  readonly units: ReadonlyArray<OrderedUnit>
  readonly #store: Store
  readonly #path: string
  readonly #entries: ReadonlyArray<OrderEntry>

  private constructor(store: Store, path: string, common: C, entries: ReadonlyArray<OrderEntry>) {
    this.common = common
    this.units = entries.map(([, , , bytes, owner]) => ({ bytes, owner }))
    this.#store = store
    this.#path = path
    this.#entries = entries
  }

  /** @throws ClusterError `cluster/orders`; InvalidFile `json/…`, `document/shape`; IoError */
  static async open<C>(store: Store, directory: string, { bytes, name, sha256: expected }: OrdersPlace, schema: ZodType<C>): Promise<WorkOrders<C>> {
    const path = join(directory, indexOf(name))
    const index = await readExactly(store, path, 0, bytes, expected)
    const { common, orders } = decodeJson(indexSchema.extend({ common: schema }), path, index, LIMITS)
    return new WorkOrders(store, join(directory, name), common as C, orders)
  }

  /** The order of a unit. @throws as {@link WorkOrders.open} */
  async read<A>(unit: number, schema: ZodType<A>): Promise<A> {
    const [position, bytes, expected] = this.#entries[unit]!
    return decodeJson(schema, this.#path, await readExactly(this.#store, this.#path, position, bytes, expected), LIMITS)
  }
}
