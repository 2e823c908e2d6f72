/** Who does which unit of work when nobody is asked: the same answer in every process. */

/**
 * The rank of each unit: the largest first, each to the rank that has fewest bytes so far (of equals the lowest).
 *
 * **Details**
 *
 * No rank has more than 4/3 of the best possible share (Graham 1969). A heap keeps it linearithmic: 10⁵ units, 10³ ranks.
 */
export const dealt = (sizes: ReadonlyArray<number>, ranks: number): ReadonlyArray<number> => {
  const order = sizes.map((_, unit) => unit).sort((a, b) => sizes[b]! - sizes[a]! || a - b)
  const bytes = new Float64Array(ranks)
  // A binary heap of ranks, the least loaded at its root; in the beginning any order of equals is one.
  const heap = Array.from({ length: ranks }, (_, rank) => rank)
  const before = (a: number, b: number): boolean => bytes[a]! < bytes[b]! || (bytes[a] === bytes[b] && a < b)
  const sink = (): void => {
    for (let at = 0;;) {
      const left = 2 * at + 1
      const right = left + 1
      let least = at
      if (left < ranks && before(heap[left]!, heap[least]!)) least = left
      if (right < ranks && before(heap[right]!, heap[least]!)) least = right
      if (least === at) return
      const rank = heap[at]!
      heap[at] = heap[least]!
      heap[least] = rank
      at = least
    }
  }
  const owners = new Array<number>(sizes.length)
  for (const unit of order) {
    const rank = heap[0]!
    owners[unit] = rank
    // A unit of no bytes is work, too.
    bytes[rank]! += Math.max(1, sizes[unit]!)
    sink()
  }
  return owners
}
