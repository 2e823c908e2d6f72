/** Which family converts a model. */
import type { Family } from "../bridge/Family.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { recognise } from "../recognise/patterns.ts"
import { positioned } from "../document/position.ts"
import { quote, Unsupported } from "../errors.ts"
import { explainingHf, recogniseHf } from "../plan/explain.ts"
import type { HfSource } from "../space/HfSource.ts"


/** Name patterns shown for an unknown architecture. */
const MOST_PATTERNS = 40

/** The family of an opened model; for an unknown architecture the error also says what its tensors look like. */
export const familyOf = (families: FamilyRegistry, source: HfSource): Family => explainingHf(source.weights, source, () => {
  try {
    return families.find(source.json, source.path, positioned({ field: "architectures[0]" }, source.bytes))
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error
    const known = recogniseHf(source.weights, source)
    const what = known ? `\n  But ${known.what}. ${known.next}` : ""
    const patterns = recognise(source.weights.tensors.values())
    const lines = patterns.slice(0, MOST_PATTERNS).map((p) => `\n    ${quote(p.pattern)} (${p.count} × [${p.shape}]): ${p.looksLike}`)
    const rest = patterns.length > MOST_PATTERNS ? `\n    … ${patterns.length} patterns in all` : ""
    throw new Unsupported({
      code: error.code,
      what: error.what,
      ...(error.place ? { place: error.place } : {}),
      problem: error.problem,
      hint: `${error.hint}${what}\n  Its tensors look like this (\`scaffold\` writes them as a starter file):${lines.join("")}${rest}`
    })
  }
})
