/** Samples that a run trains on: how long, with which images, in which shares. Their load varies, and the slowest rank decides. */
import { UsageError } from "../errors.ts"
import { type PatchGrid, images, sequences, times, together, type Workload } from "../cost/Workload.ts"

/** How a model's processor makes patches of an image. */
export interface ImageRule {
  /** Pixels per side of a patch. */
  readonly patch: number
  /** Patches per side that become a token. */
  readonly merge: number
  /** Bounds on the pixels of an image, between which it is scaled. */
  readonly leastPixels?: number
  readonly mostPixels?: number
}

/**
 * The patches of an image: each side rounded to a multiple of patch · merge, scaled where it has too many or too few pixels, its
 * proportions kept. Source: `smart_resize` of the published processors.
 */
export const gridOf = (height: number, width: number, { leastPixels = 0, merge, mostPixels = Infinity, patch }: ImageRule): PatchGrid => {
  const step = patch * merge
  const round = (side: number): number => Math.max(step, Math.round(side / step) * step)
  let [h, w] = [round(height), round(width)]
  if (h * w > mostPixels) {
    const scale = Math.sqrt((height * width) / mostPixels)
    ;[h, w] = [height, width].map((side) => Math.max(step, Math.floor(side / scale / step) * step)) as [number, number]
  } else if (h * w < leastPixels) {
    const scale = Math.sqrt(leastPixels / (height * width))
    ;[h, w] = [height, width].map((side) => Math.ceil((side * scale) / step) * step) as [number, number]
  }
  return { frames: 1, height: h / patch, width: w / patch }
}

/** So many of the samples have these images. */
export interface ImageShare {
  readonly share: number
  /** `[height, width]` in pixels, each so many times. */
  readonly images: ReadonlyArray<{ readonly count: number; readonly height: number; readonly width: number }>
}

const IMAGES = /^(?:([0-9]*\.?[0-9]+):)?(?:none|([0-9]{1,4})\*([0-9]{1,5})x([0-9]{1,5}))$/

/**
 * Parses `N*HxW` (every sample has N images of H × W pixels), `none`, or with a share in front: `0.3:none`, `0.7:2*768x1024`.
 *
 * @throws UsageError
 */
export const parseImages = (text: string): ImageShare => {
  const match = IMAGES.exec(text)
  const refuse = (problem: string): never => {
    throw new UsageError({ problem: `--images ${text}: ${problem}`, hint: "expected N*HEIGHTxWIDTH or none, with a share in front where samples differ: 0.3:none 0.7:2*768x1024" })
  }
  if (match === null) return refuse("is not understood")
  const [, share, count, height, width] = match.map((part: string | undefined) => (part === undefined ? undefined : Number(part)))
  if (share !== undefined && (share <= 0 || share > 1)) return refuse("a share is more than 0 and at most 1")
  if (count === undefined) return { share: share ?? 1, images: [] }
  if (count < 1 || height! < 1 || width! < 1) return refuse("a number is 0")
  return { share: share ?? 1, images: [{ count, height: height!, width: width! }] }
}

/** What a run's samples come to. */
export interface SampleMix {
  readonly length: number
  readonly mean: Workload
  /** The heaviest, for memory and room. */
  readonly largest: Workload
  /** Relative standard deviation of a sample's visual work, by its patches. */
  readonly deviation: number
  readonly images: { readonly least: number; readonly most: number; readonly uniform: boolean; readonly mostTokens: number } | undefined
}

/** A sample of `length` tokens, its images among them. @throws UsageError if shares do not sum to 1. */
export const sampleMix = (length: number, shares: ReadonlyArray<ImageShare>, rule: ImageRule | undefined): SampleMix => {
  const text = sequences([length])
  if (shares.length === 0 || rule === undefined) return { length, mean: text, largest: text, deviation: 0, images: undefined }
  const sum = shares.reduce((total, { share }) => total + share, 0)
  if (Math.abs(sum - 1) > 1e-6) throw new UsageError({ problem: `the shares of --images sum to ${Number(sum.toFixed(6))}, not to 1` })
  const loads = shares.map(({ images: own, share }) => ({
    share,
    count: own.reduce((n, { count }) => n + count, 0),
    work: together(...own.map(({ count, height, width }) => times(images([gridOf(height, width, rule)], rule.merge), count)))
  }))
  const mean = together(text, ...loads.map(({ share, work }) => times(work, share)))
  const variance = loads.reduce((total, { share, work }) => total + share * (work.patches - mean.patches) ** 2, 0)
  const heaviest = loads.reduce((most, load) => (load.work.patches > most.work.patches ? load : most))
  const counts = loads.map(({ count }) => count)
  return {
    length,
    mean,
    largest: together(text, heaviest.work),
    deviation: mean.patches === 0 ? 0 : Math.sqrt(variance) / mean.patches,
    images: {
      least: Math.min(...counts),
      most: Math.max(...counts),
      uniform: new Set(loads.map(({ work }) => work.merged)).size === 1,
      mostTokens: heaviest.work.merged
    }
  }
}
