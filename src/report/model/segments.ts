/** Chunks as they lie in a file, neighbours of a component drawn together. */

/** Segments of all files together, about; each costs some 200 bytes. */
const BUDGET = 4000
/** More segments in one strip nobody tells apart, fewer say nothing. */
const [FEWEST, MOST] = [40, 400] as const

/** Parts of a file below which segments are drawn together, where so many files are drawn. */
export const stepsOf = (files: number): number => Math.min(MOST, Math.max(FEWEST, Math.floor(BUDGET / Math.max(1, files))))

export interface DrawnSegment {
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

/** `bytes`: of the file; `steps`: of {@link stepsOf}. */
export const segmentsOf = (chunks: ReadonlyArray<PlacedChunk>, bytes: number, steps: number): ReadonlyArray<DrawnSegment> => {
  const least = bytes / steps
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
