/**
 * Layout strings of a pipeline (`pipeline_model_parallel_layout`), e.g. `Et*3|(tt|)*29,m|L`: one letter per layer, stages between
 * bars. The grammar is Megatron-Core's. Pure.
 */
import { quote, UsageError } from "../errors.ts"

/** `E`: embedding, `t`: decoder layer, `m`: multi-token prediction, `L`: output layer and loss. */
export type LayerLetter = "E" | "t" | "m" | "L"

/** The letters of every stage. Of `pp × vpp` stages, rank `s % pp` of the pipeline holds number `s`. */
export type StageLetters = ReadonlyArray<ReadonlyArray<LayerLetter>>

/** The longest string read, and the longest it may stand for: a thousand layers in a thousand stages have 2000 letters. */
const LONGEST = 10_000
const LONGEST_UNROLLED = 100_000

const LETTERS = "EtmL"

const refuse = (layout: string, problem: string): never => {
  throw new UsageError({ code: "usage/layout",
    problem: `layout "${quote(layout)}": ${problem}`,
    hint: "E (embedding), t (decoder layer), m (multi-token prediction) and L (loss), stages between |; x*n and (…)*n repeat, commas mean nothing"
  })
}

/**
 * Replaces `what*n` by n times `what`. Linear: what stands for too much is refused before it is written.
 *
 * `(…)` ends at the first `)`, as it does for the trainer: parentheses do not nest.
 */
const unroll = (layout: string, text: string, pattern: RegExp): string => {
  let length = text.length
  return text.replaceAll(pattern, (_, what: string, times: string) => {
    length += what.length * Number(times)
    if (!(length <= LONGEST_UNROLLED)) refuse(layout, `stands for more than ${LONGEST_UNROLLED} letters`)
    return what.repeat(Number(times))
  })
}

/**
 * The stages that a layout string describes.
 *
 * @throws UsageError
 */
export const parsePipelineLayout = (layout: string): StageLetters => {
  if (layout.length > LONGEST) refuse(layout, `has ${layout.length} characters, at most ${LONGEST} are read`)
  const groups = unroll(layout, layout.replaceAll(",", ""), /\(([^()]+)\)\*(\d+)/g)
  const flat = unroll(layout, groups, /([^*])\*(\d+)/g)
  return flat.split("|").map((stage) =>
    [...stage].map((letter) => (LETTERS.includes(letter) ? letter as LayerLetter : refuse(layout, `"${quote(letter)}" is no layer`))))
}
