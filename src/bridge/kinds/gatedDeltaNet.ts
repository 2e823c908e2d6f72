/** Gated DeltaNet input projections whose rows the file groups by key head. */
import { type Copy, stridesOf, viewOf, volume } from "../../tensor/Copy.ts"
import { from, type MappingKind, type RowSource } from "../Mapping.ts"

/**
 * `in_proj_qkvz`: per key head its q, k, v, z rows; `in_proj_ba`: per key head its b, a rows. The parameter holds all q rows,
 * all k rows, and so on; its named parts say how many each.
 */
export const gatedDeltaNetByHead = (keyHeads: number): MappingKind => ({
  name: "gdn-by-head",
  arity: 2,
  relate: (p, [qkvz, ba]) => {
    const inner = p.shape.slice(1)
    const width = volume(inner)
    const tensors: Array<{ name: string; shape: ReadonlyArray<number> }> = []
    const copies: Array<Copy> = []
    for (const [name, parts] of [[qkvz!, p.parts.slice(0, 4)], [ba!, p.parts.slice(4)]] as const) {
      const rows = parts.map(({ rows: own = [0, p.shape[0]!] }) => ({ first: own[0], perHead: (own[1] - own[0]) / keyHeads }))
      const period = rows.reduce((sum, r) => sum + r.perHead, 0)
      let at = 0
      for (const { first, perHead } of rows) {
        const block = [perHead, ...inner]
        copies.push({
          shape: [keyHeads, ...block],
          source: { tensor: name, offset: at * width, strides: [period * width, ...stridesOf(block)] },
          target: { ...viewOf(p.name, p.shape, first), strides: [perHead * width, ...stridesOf(block)] }
        })
        at += perHead
      }
      tensors.push({ name, shape: [keyHeads * period, ...inner] })
    }
    return { tensors, copies }
  }
})

export const gatedDeltaNetByHeadOf = (keyHeads: number, pattern: string): RowSource => from(gatedDeltaNetByHead(keyHeads))(pattern)
