/**
 * Tensors as the page's script wants them: arrays of small numbers over tables of what repeats, so that 100 000 tensors take a
 * few megabytes. The script is the only reader (script.ts).
 */
import type { Inspection } from "../inspect/Inspection.ts"
import type { Coverage } from "./PageData.ts"
import type { RankMap } from "./rankMap.ts"

/** A checkpoint of more chunks than this lists none; the map and the sums are drawn all the same. */
export const MOST_CHUNKS = 250_000

/** Index of each distinct value, in order of appearance. */
class Table<T> {
  readonly items: Array<T> = []
  readonly #at = new Map<string, number>()
  add(value: T, key: string = String(value)): number {
    let at = this.#at.get(key)
    if (at === undefined) {
      this.#at.set(key, at = this.items.length)
      this.items.push(value)
    }
    return at
  }
}

/** A name is a pattern (what stands around its numbers) and its numbers. */
export class Names {
  readonly #patterns = new Table<ReadonlyArray<string>>()
  get patterns(): ReadonlyArray<ReadonlyArray<string>> {
    return this.#patterns.items
  }
  pack(name: string): ReadonlyArray<number> {
    const around: Array<string> = []
    const numbers: Array<number> = []
    let from = 0
    for (const match of name.matchAll(/(?<=\.)(?:0|[1-9]\d{0,8})(?=\.)/g)) {
      around.push(name.slice(from, match.index))
      numbers.push(Number(match[0]))
      from = match.index + match[0].length
    }
    around.push(name.slice(from))
    return [this.#patterns.add(around, JSON.stringify(around)), ...numbers]
  }
}

/** `t`: [dtype, shape, component, bytes, chunks, files, role, ...name]; `b`: per tensor [box, file, offset, length, map row]…. */
export const packTensors = (i: Inspection, map: RankMap, names: Names) => {
  const [dtypes, shapes, components, files, lists, boxes] =
    [new Table<string>(), new Table<string>(), new Table<string>(), new Table<string>(), new Table<ReadonlyArray<number>>(), new Table<string>()]
  for (const f of i.files) files.add(f.name)
  const chunks = i.tensors.reduce((sum, t) => sum + t.chunks, 0)
  return {
    t: i.tensors.map((t) => {
      const list = t.files.map((f) => files.add(f))
      return [
        dtypes.add(t.dtype), shapes.add(t.shape.join(" × ") || "scalar"), components.add(t.component), t.bytes, t.chunks,
        lists.add(list, list.join()), t.role === "model" ? 0 : t.role === "kept" ? 1 : 2, ...names.pack(t.name)
      ]
    }),
    ...(chunks > MOST_CHUNKS ? {} : {
      b: i.tensors.map((t) => (t.boxes ?? []).flatMap((c) => [
        boxes.add(c.sizes.map((n, k) => `${c.offsets[k]}:${c.offsets[k]! + n}`).join(", ")), files.add(c.file), c.offset, c.length, map.rowOf(t, c.offsets[0] ?? 0)
      ]))
    }),
    dtypes: dtypes.items,
    shapes: shapes.items,
    components: components.items,
    files: files.items,
    lists: lists.items,
    boxes: boxes.items,
    columns: map.columns.map((c) => c.files.map((f) => files.add(f)))
  }
}

/** `r`: [fate, how, bytes, keys, name, key…], names being packed. */
export const packCoverage = (c: Coverage, names: Names) => {
  const [fates, hows] = [new Table<string>(), new Table<string>()]
  return {
    r: c.rows.map((row) => [fates.add(row.fate), hows.add(row.how), row.bytes, names.pack(row.name), ...row.keys.map((k) => names.pack(k))]),
    fates: fates.items,
    hows: hows.items
  }
}
