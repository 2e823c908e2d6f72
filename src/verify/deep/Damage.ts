/** What is wrong with a file that has checksums. */
import { z } from "zod"
import type { Checksums } from "../../publish/integrity/Checksums.ts"
import { flippedBit } from "./flippedBit.ts"

export const damageSchema = z.object({
  /** Relative to the directory that was checked. */
  file: z.string(),
  problem: z.enum(["missing", "size", "content", "unreadable"]),
  detail: z.string(),
  /** Bytes of the file: from `begin` up to, not including, `end`. */
  begin: z.int().optional(),
  end: z.int().optional(),
  /** What in that range is different: tensors by name; none: headers, names, the space between tensors. */
  tensors: z.array(z.string()).readonly().optional(),
  /** The difference is this one bit. `byte` counts from the start of the file. */
  bit: z.object({ byte: z.int(), bit: z.int() }).optional()
}).readonly()
export type Damage = z.infer<typeof damageSchema>

type Span = Checksums["tensors"][number]

/** A block of a file with another checksum than it should have. `isDamaged` reads a tensor again and compares. */
export const blockDamage = async (
  file: string,
  { actual, begin, end, expected }: { readonly begin: number; readonly end: number; readonly expected: number; readonly actual: number },
  tensors: ReadonlyArray<Span>,
  isDamaged: (tensor: Span) => Promise<boolean>
): Promise<Damage> => {
  const flipped = flippedBit(expected, actual, end - begin)
  const bit = flipped && { byte: begin + flipped.byte, bit: flipped.bit }
  const [from, to] = bit ? [bit.byte, bit.byte + 1] : [begin, end]
  const touched = tensors.filter((t) => t.file === file && t.begin < to && from < t.end)
  const names: Array<string> = []
  for (const tensor of touched) if (bit || touched.length === 1 || await isDamaged(tensor)) names.push(tensor.name)
  return {
    file,
    problem: "content",
    detail: bit ? `bit ${bit.bit} of byte ${bit.byte} is flipped` : "not what was written",
    begin,
    end,
    tensors: names,
    ...(bit ? { bit } : {})
  }
}

/** Bytes of what one process tells another about one file. */
const MOST_TOLD = 256 << 10

/** What goes from one process to another has bounds; a file that is damaged everywhere is told by its first blocks. */
export const someOf = (damages: ReadonlyArray<Damage>): Array<Damage> => {
  const some: Array<Damage> = []
  let room = MOST_TOLD
  for (const damage of damages) {
    room -= JSON.stringify(damage).length
    if (room < 0) break
    some.push(damage)
  }
  return some.length < damages.length ? [...some, { file: damages[0]!.file, problem: "content", detail: `and ${damages.length - some.length} more places` }] : some
}
