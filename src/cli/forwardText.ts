/** The forward check as text. */
import { quote } from "../errors.ts"
import type { ForwardReport } from "../api/forward.ts"
import { bold, bytes, dim, plural, table } from "./text.ts"

const nextTokens = ({ next }: ForwardReport): string => {
  const worded = next.some(({ text }) => text !== undefined)
  return table([
    ["next token", ...(worded ? ["text"] : []), "probability", "logit"],
    ...next.map(({ id, logit, probability, text }) => [String(id), ...(worded ? [quote(text ?? "")] : []), probability.toPrecision(3), logit.toFixed(4)])
  ])
}

export const renderForward = (report: ForwardReport): string => {
  const { architecture, compute, family, kind, layers, logProbabilities, next, notes, path, perplexity, tokens } = report
  const told = perplexity === undefined ? dim("a single token: nothing that follows could be judged") : `${bold("perplexity")} ${perplexity.toPrecision(6)} ${dim(`of ${plural(logProbabilities.length, "token")} behind the first`)}`
  return [
    `${bold(architecture)} ${dim(`(${family}, ${kind === "hf" ? "Hugging Face" : "Megatron"})`)}\n  from ${path}`,
    `  ${plural(tokens.length, "token")} through ${plural(layers, "layer")}, ${bytes(report.bytes)} of weights; 32-bit arithmetic by ${compute}`,
    ...report.adapters.map(({ alpha, dora, path: from, rank }) => `  ${dora ? "DoRA" : "LoRA"} of rank ${rank}, alpha ${alpha}, from ${from}`),
    told,
    ...(next.length > 0 ? [nextTokens(report)] : []),
    ...notes.map((note) => `${bold("note")} ${note}`)
  ].join("\n\n")
}
