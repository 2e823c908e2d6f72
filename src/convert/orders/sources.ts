/** The files that a conversion reads, as processes that have not planned it are told of them, and whether each sees the same ones. */
import { createHash } from "node:crypto"
import { join } from "node:path"
import { z } from "zod"
import { ClusterError, LaunchError, quote } from "../../errors.ts"
import { isMissing } from "../../store/present.ts"
import { readFully, type Store } from "../../store/Store.ts"

/** Directories (or files) that every process of the job was given, by what they are to it. Each may have them under a path of its own. */
export type SourceRoots = Readonly<Record<string, string>>

const MOST_HEADER = 128 << 20
/** Of a file without a header that was read to plan. */
const USUAL_HEAD = 4096

/** No way out of the directory that it is in. */
const isInside = (name: string): boolean => name === "" || name.split("/").every((part) => part !== "" && part !== "." && part !== ".." && !part.includes("\0"))

export const sourceSchema = z.object({
  root: z.string(),
  /** In that directory; empty for a root that is a file. */
  name: z.string().max(4096).refine(isInside, "leads out of its directory"),
  size: z.int().nonnegative(),
  /** How many bytes at its beginning have this SHA-256. */
  head: z.int().nonnegative().max(MOST_HEADER),
  sha256: z.string().regex(/^[0-9a-f]{64}$/)
})
export type PlannedSource = z.infer<typeof sourceSchema>

/** Where a file is in one of the roots; undefined if it is in none. */
export const placeIn = (roots: SourceRoots, path: string): Pick<PlannedSource, "root" | "name"> | undefined => {
  for (const [root, directory] of Object.entries(roots)) {
    if (join(directory) === path) return { root, name: "" }
    const before = join(directory, "x").slice(0, -1)
    const name = path.slice(before.length)
    if (path.startsWith(before) && name !== "" && isInside(name)) return { root, name }
  }
  return undefined
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

const headOf = async (store: Store, path: string, length: (size: number) => number): Promise<{ readonly size: number; readonly bytes: Uint8Array }> => {
  const file = await store.open(path, "read")
  try {
    const { size } = await file.info()
    const bytes = new Uint8Array(Math.min(size, length(size)))
    await readFully(file, bytes, 0)
    return { size, bytes }
  } finally {
    await file.close()
  }
}

/** `known`: its size and its first bytes, where they were read to plan. @throws IoError */
export const plannedSource = async (
  store: Store,
  roots: SourceRoots,
  path: string,
  known: { readonly size: number; readonly header: Uint8Array } | undefined
): Promise<PlannedSource> => {
  const place = placeIn(roots, path)
  if (place === undefined) throw new RangeError(`${path} is in no directory that all processes know`)
  const { bytes, size } = known ? { bytes: known.header, size: known.size } : await headOf(store, path, () => USUAL_HEAD)
  return { ...place, size, head: bytes.byteLength, sha256: sha256(bytes) }
}

/** Where a source is for this process. @throws ClusterError `cluster/orders` for a root that it was not given */
export const pathOf = (roots: SourceRoots, { name, root }: Pick<PlannedSource, "root" | "name">): string => {
  if (!Object.hasOwn(roots, root)) throw new ClusterError({ code: "cluster/orders", problem: `a work order reads from ${quote(root)}, which this process was not given` })
  return join(roots[root]!, name)
}

/** The same as rank 0 has planned with? Looked at once for each file. */
export class SourceCheck {
  readonly #store: Store
  readonly #seen = new Map<string, Promise<void>>()

  constructor(store: Store) {
    this.#store = store
  }

  /** How many files were looked at. */
  get count(): number {
    return this.#seen.size
  }

  /** @throws LaunchError `launch/source`; IoError */
  require(path: string, source: PlannedSource): Promise<void> {
    const known = this.#seen.get(path) ?? this.#look(path, source)
    this.#seen.set(path, known)
    return known
  }

  async #look(path: string, { head, sha256: expected, size }: PlannedSource): Promise<void> {
    const found = await headOf(this.#store, path, () => head).catch((error: unknown): never => {
      throw isMissing(error) ? another(path, "is not there on this host") : error
    })
    if (found.size !== size) throw another(path, `has ${found.size} bytes here, ${size} for rank 0`)
    if (sha256(found.bytes) !== expected) throw another(path, `does not begin here as it does for rank 0 (its first ${head} bytes)`)
  }
}

const another = (path: string, how: string): LaunchError => new LaunchError({
  code: "launch/source",
  problem: `this process sees another source than rank 0, which has planned for all: ${quote(path)} ${how}`,
  hint: "All processes must read the same files: a file system that all hosts share, or equal copies."
})
