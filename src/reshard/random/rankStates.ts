/**
 * The random states of ranks right after seeding, as a trainer stores them: `rng_state/shard_…`, a list of one dict for each
 * data-parallel rank that has states of its own (training-checkpoints.md 1). Opcode for opcode as torch and NumPy 2 write them. Pure.
 */
import { encodePickle } from "../../torch/encodePickle.ts"
import { ORDERED_DICT, REBUILD_V2, storageGlobal } from "../../torch/Globals.ts"
import { PersistentId, PickleDict, PickleGlobal, PickleList, PickleObject, type PickleValue, PyFloat } from "../../torch/PickleValue.ts"
import { archiveOfPickle } from "../../torch/SaveArchive.ts"
import { seededByNumber, seededByWords, WORDS } from "./mersenneTwister.ts"

/** What one rank seeds its generators with. */
export interface RankSeeds {
  /** Python, NumPy, torch on the CPU and the GPU's own generator. */
  readonly base: number
  /** By name of the tracker's state, in its order. */
  readonly tracked: ReadonlyMap<string, number>
}

const globalOf = (id: string): PickleGlobal => new PickleGlobal(...(id.split(" ") as [string, string]))

/** Little-endian bytes of 64-bit words. */
const words64 = (values: Iterable<number>): Uint8Array => new Uint8Array(BigUint64Array.from(values, BigInt).buffer)

/** `torch.get_rng_state()`: seed, words left and seeded (32 bits each), next, the words as 64 bits, then what Box and Muller left: nothing. */
const torchState = (seed: number): Uint8Array => {
  const bytes = Buffer.alloc(5056)
  bytes.writeBigUInt64LE(BigInt(seed))
  bytes.writeInt32LE(1, 8)
  bytes.writeInt32LE(1, 12)
  bytes.set(words64(seededByNumber(seed)), 24)
  return bytes
}

/** `torch.cuda.get_rng_state()`: seed and offset of Philox. */
const cudaState = (seed: number): Uint8Array => words64([seed, 0])

/** One item: what its ranks share is written once. */
class Item {
  readonly #storages: Array<Uint8Array> = []
  readonly #encode = new PickleGlobal("_codecs", "encode")

  /** An unsigned byte tensor. */
  tensor(data: Uint8Array): PickleObject {
    const key = String(this.#storages.push(data) - 1)
    const storage = new PersistentId(["storage", globalOf(storageGlobal("U8")!), key, "cpu", data.length])
    return new PickleObject(globalOf(REBUILD_V2), [storage, 0, [data.length], [1], false, new PickleObject(globalOf(ORDERED_DICT), [])])
  }

  /** Bytes, which protocol 2 has as a call. */
  #bytes(data: Uint8Array): PickleObject {
    return new PickleObject(this.#encode, [Buffer.from(data).toString("latin1"), "latin1"])
  }

  /** An array of uint32. */
  array(values: Uint32Array): PickleObject {
    const dtype = new PickleObject(new PickleGlobal("numpy", "dtype"), ["u4", false, true])
    dtype.state = [3, "<", null, null, null, -1, -1, 0]
    const array = new PickleObject(new PickleGlobal("numpy._core.multiarray", "_reconstruct"), [new PickleGlobal("numpy", "ndarray"), [0], this.#bytes(Buffer.from("b"))])
    array.state = [1, [values.length], dtype, false, this.#bytes(new Uint8Array(Uint32Array.from(values).buffer))]
    return array
  }

  archive(value: PickleValue): Uint8Array {
    return archiveOfPickle("archive", encodePickle(value), this.#storages)
  }
}

const dict = (entries: ReadonlyArray<readonly [string, PickleValue]>): PickleDict => {
  const out = new PickleDict()
  out.extend(entries.flat())
  return out
}

const stateOf = (item: Item, { base, tracked }: RankSeeds): PickleDict =>
  dict([
    ["random_rng_state", [3, [...seededByWords(base), WORDS], null]],
    ["np_rng_state", ["MT19937", item.array(seededByNumber(base)), WORDS, 0, new PyFloat(0)]],
    ["torch_rng_state", item.tensor(torchState(base))],
    ["cuda_rng_state", item.tensor(cudaState(base))],
    ["rng_tracker_states", dict([...tracked].map(([name, seed]) => [name, item.tensor(cudaState(seed))]))]
  ])

/** The stored item: the list of the one local shard, itself the list of the ranks' states. */
export const rngItem = (ranks: ReadonlyArray<RankSeeds>): Uint8Array => {
  const item = new Item()
  const [states, shards] = [new PickleList(), new PickleList()]
  for (const seeds of ranks) states.push(stateOf(item, seeds))
  shards.push(states)
  return item.archive(shards)
}
