/**
 * Samples of a chat dataset, looked at before a GPU is: placeholders against images, the longest sample against the sequence, numbers
 * of images against the encoder's data parallelism. Rows are JSON lines with `messages` (or `conversations`) and, beside text parts,
 * image parts with `width` and `height`, or `images` with as much.
 */
import { z } from "zod"
import { parseJson } from "../document/StrictJson.ts"
import { gridOf, type ImageRule } from "../planner/samples.ts"

const side = z.number().min(1).max(1e6)
const size = z.looseObject({ width: side, height: side })
const part = z.looseObject({ type: z.string(), text: z.string().optional(), width: side.optional(), height: side.optional() })
const message = z.looseObject({ content: z.union([z.string(), z.array(part).max(10_000)]).optional(), value: z.string().optional() })
const row = z.looseObject({
  messages: z.array(message).max(10_000).optional(),
  conversations: z.array(message).max(10_000).optional(),
  images: z.array(z.union([size, z.string()])).max(10_000).optional()
})

export interface SampleFinding {
  /** `error`: the trainer raises, or trains on something else than was meant. */
  readonly severity: "error" | "warning" | "note"
  readonly text: string
  /** Lines, from 1; the first few. */
  readonly lines: ReadonlyArray<number>
}

export interface SampleCheck {
  readonly samples: number
  readonly images: number
  /** Visual tokens of the largest sample. */
  readonly mostVisualTokens: number
  /** Images of a sample, at least and at most. */
  readonly leastImages: number
  readonly mostImages: number
  readonly findings: ReadonlyArray<SampleFinding>
}

export interface SampleCheckOptions {
  readonly seqLength: number
  /** Absent: the model has no vision tower. */
  readonly rule: ImageRule | undefined
  /** Data-parallel ranks of the component with the tower, where it has its own. */
  readonly encoderDp: number
  readonly languageDp: number
}

const PLACEHOLDER = /<image>|<\|image_pad\|>|<img>/g
/** Lines that a finding names. */
const NAMED = 5

/** Characters of a token, few rather than many: an estimate without a tokenizer. */
const CHARACTERS = 3

interface Seen {
  readonly images: number
  readonly placeholders: number
  readonly videos: number
  readonly tokens: number
  readonly unsized: number
  readonly characters: number
}

const look = (value: z.infer<typeof row>, rule: ImageRule | undefined): Seen => {
  let [images, placeholders, videos, tokens, unsized, characters] = [0, 0, 0, 0, 0, 0]
  const add = (image: { readonly width?: number | undefined; readonly height?: number | undefined }): void => {
    images++
    if (image.width === undefined || image.height === undefined || rule === undefined) unsized++
    else {
      const grid = gridOf(image.height, image.width, rule)
      tokens += (grid.height * grid.width) / rule.merge ** 2
    }
  }
  for (const { content, value: said } of value.messages ?? value.conversations ?? []) {
    const texts = typeof content === "string" ? [content] : said === undefined ? [] : [said]
    for (const one of Array.isArray(content) ? content : []) {
      if (one.type === "image" || one.type === "image_url") add(one)
      else if (one.type === "video") videos++
      else if (one.text !== undefined) texts.push(one.text)
    }
    for (const text of texts) {
      characters += text.length
      placeholders += text.match(PLACEHOLDER)?.length ?? 0
    }
  }
  for (const image of value.images ?? []) add(typeof image === "string" ? {} : image)
  return { images, placeholders, videos, tokens, unsized, characters }
}

/** Check the lines of a JSONL file. A line that is no sample is a finding. */
export const checkSamples = (texts: Iterable<string>, { encoderDp, languageDp, rule, seqLength }: SampleCheckOptions): SampleCheck => {
  const found = new Map<string, { readonly severity: SampleFinding["severity"]; readonly lines: Array<number> }>()
  const note = (severity: SampleFinding["severity"], text: string, line: number): void => {
    const known = found.get(text)
    if (known === undefined) found.set(text, { severity, lines: [line] })
    else if (known.lines.length < NAMED) known.lines.push(line)
  }
  let [samples, images, mostVisualTokens, leastImages, mostImages, line] = [0, 0, 0, Infinity, 0, 0]
  const visual = new Set<number>()
  for (const text of texts) {
    line++
    if (text.trim() === "") continue
    let value: z.infer<typeof row>
    try {
      value = row.parse(parseJson(Buffer.from(text)))
    } catch {
      note("error", "is no sample: a JSON object with messages is expected", line)
      continue
    }
    if (value.messages === undefined && value.conversations === undefined) {
      note("error", "is no sample: a JSON object with messages is expected", line)
      continue
    }
    const seen = look(value, rule)
    samples++
    images += seen.images
    mostVisualTokens = Math.max(mostVisualTokens, seen.tokens)
    leastImages = Math.min(leastImages, seen.images)
    mostImages = Math.max(mostImages, seen.images)
    visual.add(seen.tokens)
    if (rule === undefined && seen.images > 0) note("error", "has images, the model has no vision tower", line)
    if (seen.placeholders > 0 && seen.placeholders !== seen.images) note("error", "has another number of placeholders than images: the trainer raises", line)
    if (seen.videos > 0) note("error", "has a video: ranks that need no pixels raise NotImplementedError under MegatronMIMO", line)
    if (seen.unsized > 0 && rule !== undefined) note("note", "has images without width and height, which are not counted here", line)
    if (seen.tokens + Math.ceil(seen.characters / CHARACTERS) > seqLength) {
      note(seen.tokens >= seqLength ? "error" : "warning", seen.tokens >= seqLength ? "has more visual tokens than the sequence: truncating them raises" : "may be longer than the sequence, by an estimate of its text", line)
    }
  }
  if (encoderDp > 1 && leastImages !== mostImages && samples > 0) note("error", `samples have ${leastImages} to ${mostImages} images, and the encoder's dp is ${encoderDp}: images are dealt out by number, so that they reach another sample's ranks`, 1)
  if (encoderDp > languageDp && visual.size > 1) note("error", `samples differ in visual tokens, and the encoder's dp ${encoderDp} is more than the language model's ${languageDp}`, 1)
  return {
    samples, images, mostVisualTokens,
    leastImages: samples === 0 ? 0 : leastImages,
    mostImages,
    findings: [...found].map(([text, { lines, severity }]) => ({ severity, text, lines }))
  }
}
