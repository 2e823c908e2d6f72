/**
 * Tensors as the page's script wants them: arrays of small numbers over tables of what repeats, so that 100 000 tensors take a
 * few megabytes. The scripts (../script) are the only readers.
 */
import type { Inspection } from "../../inspect/Inspection.ts"
import type { ModelCoverage } from "../PageData.ts"
import type { FoldedGroup } from "./lists.ts"
import type { RankMap } from "./rankMap.ts"
import { Distinct } from "./Distinct.ts"

/** A checkpoint of more chunks than this lists none; the map and the sums are drawn all the same. */
const MOST_CHUNKS = 250_000

/** The number of a tensor of the page (those of its subjects, one after the other), or a name that none of them has. */
export type Ref = number | ReadonlyArray<number>

const NUMBER = /(?<=\.)(?:0|[1-9]\d{0,8})(?=\.)/g

/** A name is a pattern (what stands around its numbers) and its numbers. */
export class Names {
  /** With NUL, which no clean name has, for each number. */
  readonly #patterns = new Distinct<string>()
  readonly #tensors: ReadonlyArray<ReadonlyMap<string, number>>

  /** Subjects whose tensors names may refer to. */
  constructor(subjects: ReadonlyArray<Inspection>) {
    let next = 0
    this.#tensors = subjects.map((i) => new Map(i.tensors.map((t) => [t.name, next++])))
  }

  get patterns(): ReadonlyArray<ReadonlyArray<string>> {
    return this.#patterns.items.map((pattern) => pattern.split("\u0000"))
  }

  pack(name: string): ReadonlyArray<number> {
    const numbers: Array<number> = []
    const pattern = name.replace(NUMBER, (digits) => {
      numbers.push(Number(digits))
      return "\u0000"
    })
    return [this.#patterns.add(pattern), ...numbers]
  }

  /** A tensor of the subject `at` by its name. */
  ref(name: string, at: number): Ref {
    return this.#tensors[at]?.get(name) ?? this.pack(name)
  }
}

/** Ascending numbers as `[first, step, count]…`. */
export const stepRuns = (numbers: ReadonlyArray<number>): ReadonlyArray<number> => {
  const out: Array<number> = []
  for (let k = 0; k < numbers.length;) {
    const step = k + 1 < numbers.length ? numbers[k + 1]! - numbers[k]! : 1
    let end = k + 1
    while (end < numbers.length && numbers[end]! - numbers[end - 1]! === step) end++
    out.push(numbers[k]!, step, end - k)
    k = end
  }
  return out
}

/** `[label, cells, runs of rows]`. */
export const packGroups = (groups: ReadonlyArray<FoldedGroup>) => groups.map((g) => [g.label, g.cells, stepRuns(g.rows)])

/**
 * `kinds`: [dtype, shape, component, bytes, role]; `t`: [kind, chunks, files, …name]; `b`: per tensor, of every chunk, [box, file,
 * offset, length, row of the map, set of holders].
 */
export const packTensors = (i: Inspection, map: RankMap, names: Names) => {
  const [kinds, files, lists, boxes, sets] = [new Distinct<ReadonlyArray<string | number>>(), new Distinct<string>(), new Distinct<ReadonlyArray<number>>(), new Distinct<string>(), new Distinct<ReadonlyArray<number>>()]
  for (const f of i.files) files.add(f.name)
  const chunks = i.tensors.reduce((sum, t) => sum + t.chunks, 0)
  return {
    t: i.tensors.map((t) => {
      const list = t.files.map((f) => files.add(f))
      const kind = [t.dtype, t.shape.join(" × ") || "scalar", t.component, t.bytes, t.role === "model" ? 0 : t.role === "kept" ? 1 : 2]
      return [kinds.add(kind, kind.join("\u0000")), t.chunks, lists.add(list, list.join()), ...names.pack(t.name)]
    }),
    ...(chunks > MOST_CHUNKS ? {} : {
      b: i.tensors.map((t) => (t.boxes ?? []).flatMap((c) => {
        const { holders, row } = map.placeOf(t, c)
        return [boxes.add(c.sizes.map((n, k) => `${c.offsets[k]}:${c.offsets[k]! + n}`).join(", ")), files.add(c.file), c.offset, c.length, row, sets.add(holders, holders.join())]
      }))
    }),
    kinds: kinds.items,
    files: files.items,
    lists: lists.items,
    boxes: boxes.items,
    sets: sets.items,
    columns: map.columns.map((c) => c.holders)
  }
}

/**
 * `r`: [fate, how, bytes, name, key…], names being {@link Ref}s; `m`: how parameters are made, [picture, kind, rows of `r`, parts],
 * a part being [tensor, first row, row behind the last (-1: all), …position].
 */
export const packCoverage = (c: ModelCoverage, names: Names, hf: number, megatron: number) => {
  const [fates, hows, kinds] = [new Distinct<string>(), new Distinct<string>(), new Distinct<string>()]
  const rowOf = new Map(c.rows.map((row, k) => [row.name, k]))
  return {
    r: c.rows.map((row) => [fates.add(row.fate), hows.add(row.how), row.bytes, names.ref(row.name, hf), ...row.keys.map((k) => names.ref(k, megatron))]),
    m: c.made.map(({ kind, parts, picture, sources }) => [
      picture, kinds.add(kind), sources.map((name) => rowOf.get(name) ?? -1),
      parts.map(({ at, key, rows }) => [names.ref(key, megatron), rows?.[0] ?? 0, rows?.[1] ?? -1, ...at])
    ]),
    pictures: c.pictures.map(({ bands, sources, target, total }) => ({
      s: sources.map((p) => [p.rows, p.columns, p.shape.join(" × ")]),
      t: [target.rows, target.columns, target.shape.join(" × "), target.shape.length],
      b: bands.map((b) => [b.source, ...b.from, ...b.to, b.changes ? 1 : 0]),
      n: total
    })),
    fates: fates.items,
    hows: hows.items,
    kinds: kinds.items,
    megatron
  }
}
