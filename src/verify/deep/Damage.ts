/** What is wrong with a file that has checksums. */
import type { Checksums } from "../../publish/integrity/Checksums.ts"
import { type FlippedBit, flippedBit } from "./flippedBit.ts"

export interface Damage {
  /** Relative to the directory that was checked. */
  readonly file: string
  readonly problem: "missing" | "size" | "content" | "unreadable"
  readonly detail: string
  /** Bytes of the file: from `begin` up to, not including, `end`. */
  readonly begin?: number
  readonly end?: number
  /** What in that range is different: tensors by name; none: headers, names, the space between tensors. */
  readonly tensors?: ReadonlyArray<string>
  /** The difference is this one bit. `byte` counts from the start of the file. */
  readonly bit?: FlippedBit
}

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
