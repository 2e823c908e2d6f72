/**
 * What one unit of work is, as plain data: cut out of the files of a plan by the process that has the plan, carried out by one that has not. Only what the unit
 * needs is in it: the segments of its ranges, the copies that fill them, the arrays that these read.
 */
import { z } from "zod"
import { type ItemPart, itemPartOf, itemSegment } from "../../checkpoint/ItemFile.ts"
import type { IndexedStorage } from "../../checkpoint/StorageSums.ts"
import { CELL, lengthOf, type Portion, type Segment, type SourceArray, type SourceCopy, type TargetArray, type TargetFile } from "../../engine/index.ts"
import { ClusterError } from "../../errors.ts"
import { volume } from "../../tensor/Copy.ts"
import { bitsOf, bytesOf, type DType, dtypes } from "../../tensor/DType.ts"
import type { Transform } from "../../tensor/Transform.ts"

/** Beyond the end of a range, how far copies matter to how windows are cut (engine, spanOf): twice the largest cell. */
const BEYOND = 4 * CELL

const count = z.int().nonnegative()
const crc = z.int().min(0).max(0xffffffff)
const MOST_AXES = 64
const numbers = z.array(count).max(MOST_AXES)
const dtype = z.enum(dtypes as ReadonlyArray<DType> as [DType, ...Array<DType>])
const finite = z.number()

const addSchema = z.object({ kind: z.literal("add"), constant: finite })
const transformSchema = z.discriminatedUnion("kind", [
  addSchema,
  z.object({ kind: z.literal("restore"), forward: addSchema.optional(), backward: addSchema.optional() }),
  z.object({ kind: z.literal("dequantize"), codes: z.enum(["e4m3", "e5m2", "e2m1", "int4"]), scale: z.literal("BF16").optional() }),
  z.object({ kind: z.literal("fill"), value: finite }),
  z.object({ kind: z.literal("mean"), weights: z.array(finite).max(1 << 16) })
])

/** An array that is read: its file (an index of the sources), where in it, what it is. */
const readSchema = z.tuple([count, count, dtype, numbers])
/** A view of such an array: its index, offset and strides. */
const viewSchema = z.tuple([count, count, numbers])
/** Shape; source; offset and strides in the target; transform; operands. */
const copySchema = z.tuple([numbers, viewSchema, count, numbers, transformSchema.nullable(), z.array(viewSchema).max(1 << 16)])
const segmentSchema = z.discriminatedUnion("is", [
  /** Index of literal bytes. */
  z.object({ is: z.literal("bytes"), literal: count }),
  /** What stands around the data of an item. */
  z.object({ is: z.literal("before"), dtype, shape: numbers }),
  z.object({ is: z.literal("after"), dtype, shape: numbers }),
  z.object({ is: z.literal("array"), id: z.string(), dtype, shape: numbers, crc: z.boolean(), copies: z.array(copySchema) })
])

/** A name that stays in its directory. */
const isRelative = (name: string): boolean => name.split("/").every((part) => part !== "" && part !== "." && part !== ".." && !part.includes("\0"))

export const orderSchema = z.object({
  reads: z.array(readSchema),
  literals: z.array(z.base64()),
  files: z.array(z.object({
    name: z.string().refine(isRelative, "leads out of the directory"),
    size: count,
    start: count,
    first: count,
    cells: z.array(count),
    ranges: z.array(z.tuple([count, count])).min(1),
    segments: z.array(segmentSchema)
  })),
  /** What of the files that are read has a checksum of its own: file, index among its storages, start, end, CRC-32, name. */
  storages: z.array(z.tuple([count, count, count, count, crc, z.string()]))
})
export type Order = z.infer<typeof orderSchema>
type OrderedSegment = z.infer<typeof segmentSchema>

/** Whether arrays are nothing but copies, which can be written down: of some a program of this process changes the values. */
export const canBeOrdered = (files: ReadonlyArray<TargetFile>): boolean =>
  files.every(({ segments }) => segments.every((segment) => segment.kind !== "array" ? segment.kind === "bytes" || itemPartOf(segment) !== undefined : segment.array.adjust === undefined))

export interface OrderContents {
  /** The files cut down to the portion (`excerptsOf`). */
  readonly files: ReadonlyArray<TargetFile>
  readonly portion: Portion
  /** The index of a file that is read. */
  readonly sourceOf: (path: string) => number
  readonly storagesIn: (path: string, start: number, end: number) => ReadonlyArray<IndexedStorage>
}

/** Numbers of things, in the order in which they are first asked for. */
class Numbered<K, V> {
  readonly all: Array<V> = []
  readonly #known = new Map<K, number>()

  /** The number of what has this key, and whether it is a new one. */
  of(key: K, make: () => V): { readonly number: number; readonly isNew: boolean } {
    const found = this.#known.get(key)
    if (found !== undefined) return { number: found, isNew: false }
    this.#known.set(key, this.all.length)
    this.all.push(make())
    return { number: this.all.length - 1, isNew: true }
  }
}

const bytesRead = ({ dtype: of, shape }: Pick<SourceArray, "dtype" | "shape">): number => Math.ceil(volume(shape) * bitsOf(of) / 8)

/** Does a copy fill elements between these? */
const meets = ({ shape, target: { offset, strides } }: SourceCopy, from: number, to: number): boolean =>
  offset < to && offset + shape.reduce((hull, extent, axis) => hull + (extent - 1) * strides[axis]!, 1) > from

export const orderOf = ({ files, portion, sourceOf, storagesIn }: OrderContents): Order => {
  const reads = new Numbered<string, Order["reads"][number]>()
  const literals = new Numbered<Uint8Array, string>()
  const storages = new Map<string, Order["storages"][number]>()
  const view = ({ offset, strides, tensor }: SourceCopy["source"]): z.infer<typeof viewSchema> => {
    const { path, shape } = tensor
    const read = reads.of(`${tensor.offset} ${tensor.dtype} ${shape.join()} ${path}`, () => [sourceOf(path), tensor.offset, tensor.dtype, [...shape]])
    if (read.isNew) {
      for (const { crc32, end, index, key, start } of storagesIn(path, tensor.offset, tensor.offset + bytesRead(tensor))) {
        storages.set(`${index} ${path}`, [sourceOf(path), index, start, end, crc32, key])
      }
    }
    return [read.number, offset, [...strides]]
  }
  const copyOf = (copy: SourceCopy): z.infer<typeof copySchema> =>
    [[...copy.shape], view(copy.source), copy.target.offset, [...copy.target.strides], (copy.transform as z.infer<typeof transformSchema> | undefined) ?? null, (copy.operands ?? []).map(view)]
  const segmentOf = (segment: Segment, start: number, from: number, to: number): OrderedSegment => {
    if (segment.kind === "array") {
      const { array } = segment
      const width = bytesOf(array.dtype)
      const end = start + lengthOf(segment)
      const isNeeded = end > from && start < to
      const [first, last] = [(from - start) / width, (to + BEYOND - start) / width]
      // Of what others write alone only the place is needed: a seal may take its checksum.
      const copies = isNeeded ? array.copies().filter((copy) => meets(copy, first, last)).map(copyOf) : []
      return { is: "array", id: array.id, dtype: array.dtype, shape: [...array.shape], crc: segment.crc, copies }
    }
    const part = itemPartOf(segment)
    if (part) return { is: part.side, dtype: part.dtype, shape: [...part.shape] }
    if (segment.kind === "seal") throw new RangeError("a seal that belongs to no item")
    const { bytes } = segment
    return { is: "bytes", literal: literals.of(bytes, () => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")).number }
  }
  const ordered = files.map(({ excerpt, name, segments, size }) => {
    const ranges = portion.get(name)!
    const [from, to] = [ranges[0]!.start, ranges.at(-1)!.end]
    let at = excerpt!.start
    return {
      name,
      size,
      start: excerpt!.start,
      first: excerpt!.first,
      cells: [...excerpt!.cells],
      ranges: ranges.map(({ end, start }): [number, number] => [start, end]),
      segments: segments.map((segment) => {
        const start = at
        at += lengthOf(segment)
        return segmentOf(segment, start, from, to)
      })
    }
  })
  return { reads: reads.all, literals: literals.all, files: ordered, storages: [...storages.values()] }
}

/** What to do, of an order. */
export interface OrderedWork {
  readonly files: ReadonlyArray<TargetFile>
  readonly portion: Portion
  /** Indices of the files that are read. */
  readonly sources: ReadonlySet<number>
  readonly storages: ReadonlyArray<IndexedStorage>
}

/** Are there no more elements than a number can count? */
const isVolume = (shape: ReadonlyArray<number>): boolean => Number.isSafeInteger(shape.reduce((n, extent) => n * extent, 1))

const wrong = (problem: string): ClusterError => new ClusterError({ code: "cluster/orders", problem: `a work order ${problem}` })

/** `pathOf`, `sizeOf`: of a source, by its index. @throws ClusterError `cluster/orders` for what cannot be done; FormatError `torch/…` */
export const workOf = (order: Order, sources: ReadonlyArray<{ readonly path: string; readonly size: number }>): OrderedWork => {
  const used = new Set<number>()
  const source = (index: number): { readonly path: string; readonly size: number } => {
    const found = sources[index]
    if (found === undefined) throw wrong(`reads file ${index} of ${sources.length}`)
    used.add(index)
    return found
  }
  const reads = order.reads.map(([index, offset, of, shape]): SourceArray => {
    const { path, size } = source(index)
    if (!isVolume(shape) || offset + bytesRead({ dtype: of, shape }) > size) throw wrong(`reads beyond the end of file ${index}`)
    return { path, offset, dtype: of, shape }
  })
  const view = (axes: number) => ([index, offset, strides]: z.infer<typeof viewSchema>) => {
    const tensor = reads[index]
    if (tensor === undefined || strides.length !== axes) throw wrong("has a copy from no array, or of other axes")
    return { tensor, offset, strides }
  }
  const copyOf = (id: string, [shape, from, offset, strides, transform, operands]: z.infer<typeof copySchema>): SourceCopy => {
    if (strides.length !== shape.length || !isVolume(shape)) throw wrong("has a copy of other axes")
    return {
      shape,
      source: view(shape.length)(from),
      target: { tensor: id, offset, strides },
      ...(transform ? { transform: transform as Transform } : {}),
      ...(operands.length > 0 ? { operands: operands.map(view(shape.length)) } : {})
    }
  }
  const literals = order.literals.map((text) => new Uint8Array(Buffer.from(text, "base64")))
  const segmentOf = (segment: OrderedSegment): Segment => {
    switch (segment.is) {
      case "bytes": {
        const bytes = literals[segment.literal]
        if (bytes === undefined) throw wrong("writes bytes that it does not have")
        return { kind: "bytes", bytes }
      }
      case "before":
      case "after":
        return itemSegment({ dtype: segment.dtype, shape: segment.shape, side: segment.is } satisfies ItemPart)
      case "array": {
        const { copies, crc: isSummed, dtype: of, id, shape } = segment
        if (!isVolume(shape) || bitsOf(of) % 8 !== 0) throw wrong("writes an array that cannot be")
        const filled = copies.map((copy) => copyOf(id, copy))
        return { kind: "array", array: { id, dtype: of, shape, copies: () => filled } satisfies TargetArray, crc: isSummed }
      }
    }
  }
  const portion = new Map<string, ReadonlyArray<{ readonly start: number; readonly end: number }>>()
  const files = order.files.map(({ cells, first, name, ranges, segments, size, start }): TargetFile => {
    const own = ranges.map(([from, to]) => ({ start: from, end: to }))
    if (portion.has(name) || own.some((range, i) => range.start > range.end || range.end > size || range.start < (own[i - 1]?.end ?? start))) throw wrong("has ranges that are none")
    portion.set(name, own)
    return { name, size, segments: segments.map(segmentOf), excerpt: { start, first, cells } }
  })
  const storages = order.storages.map(([index, number, start, end, crc32, key]): IndexedStorage => ({ path: source(index).path, index: number, start, end, crc32, key }))
  return { files, portion, sources: used, storages }
}
