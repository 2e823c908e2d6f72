/** Keys of objects: a name, and which piece of it the object is, among how many: `name/shard_3.0_4.8`, `name/shard_0_1` for the only one. */

export interface KeyShard {
  readonly name: string
  readonly index: ReadonlyArray<number>
  /** As many extents as `index` has; both are empty for an object that is the only one. */
  readonly counts: ReadonlyArray<number>
}

export const shardKey = (name: string, index: ReadonlyArray<number>, counts: ReadonlyArray<number>): string =>
  index.length === 0 ? `${name}/shard_0_1` : `${name}/shard_${index.join(".")}_${counts.join(".")}`

/** Of a module's state, one of as many as there are layers and experts under its key. */
export const stateKey = (module: string, index: ReadonlyArray<number>, counts: ReadonlyArray<number>): string =>
  shardKey(`${module}._extra_state`, index, counts)

const STATE = /^(.+)\._extra_state(?:\/|$)/

/** The module whose state an object is, with or without its shard; undefined for any other key. */
export const stateModule = (key: string): string | undefined => STATE.exec(key)?.[1]

const SHARD = /^(.*)\/shard_(\d{1,9}(?:\.\d{1,9})*)_(\d{1,9}(?:\.\d{1,9})*)$/

/** Undefined for any other key. */
export const readShardKey = (key: string): KeyShard | undefined => {
  const [, name, index, counts] = SHARD.exec(key) ?? []
  if (name === undefined) return undefined
  if (index === "0" && counts === "1") return { name, index: [], counts: [] }
  return { name, index: index!.split(".").map(Number), counts: counts!.split(".").map(Number) }
}
