/** Chunks as they lie in a file, neighbours of a component drawn together. */

/** Shorter segments than this part of the file are not drawn apart. */
const STEPS = 400

export interface Segment {
  readonly begin: number
  readonly end: number
  readonly component: string
  readonly first: string
  readonly chunks: number
}

export interface PlacedChunk {
  readonly offset: number
  readonly length: number
  readonly component: string
  readonly name: string
}

/** `bytes`: of the file. */
export const segmentsOf = (chunks: ReadonlyArray<PlacedChunk>, bytes: number): ReadonlyArray<Segment> => {
  const least = bytes / STEPS
  const out: Array<{ begin: number; end: number; component: string; first: string; chunks: number }> = []
  for (const c of [...chunks].sort((a, b) => a.offset - b.offset)) {
    const last = out.at(-1)
    if (last && last.component === c.component && last.end - last.begin < least) {
      last.end = Math.max(last.end, c.offset + c.length)
      last.chunks++
    } else out.push({ begin: c.offset, end: c.offset + c.length, component: c.component, first: c.name, chunks: 1 })
  }
  return out
}
