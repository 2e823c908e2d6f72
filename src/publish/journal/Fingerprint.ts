/**
 * The identity of a conversion: everything that decides which bytes it writes. Two runs with the same fingerprint write the same bytes,
 * so one can go on where the other ended.
 */
import { createHash } from "node:crypto"
import { z } from "zod"
import type { TargetFile } from "../../engine/index.ts"
import type { StoredState } from "../../store/Store.ts"
import { VERSION } from "../../version.ts"

/** One thing a conversion depends on. */
const ingredientSchema = z.object({
  /** For messages: `config.json`, `--torch-dtype`, … */
  what: z.string(),
  /** Digest of its content, or of what of the content was read to plan: the same on every machine. */
  content: z.string(),
  /** For files whose content is not read beforehand: what changes when it does. */
  file: z.string().optional()
})
export type Ingredient = z.infer<typeof ingredientSchema>

export const fingerprintSchema = z.object({ ingredients: z.array(ingredientSchema) })
export type Fingerprint = z.infer<typeof fingerprintSchema>

export const sha256 = (...parts: ReadonlyArray<string | Uint8Array>): string => {
  const hash = createHash("sha256")
  // Lengths first, so that no two lists of parts hash alike.
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:`).update(part)
  return hash.digest("hex")
}

/** A source file as it was when it was looked at; `header` is what of its content is known. */
export const sourceFile = (what: string, { size, stamp }: StoredState, header: Uint8Array | string = ""): Ingredient =>
  ({ what, content: sha256(String(size), header), file: stamp })

/** A source file that this work itself links to, which changes its stamp. */
export const linkedFile = (what: string, state: StoredState): Ingredient => sourceFile(what, { ...state, stamp: state.identity })

/** Something small that is known in full. */
export const known = (what: string, content: string | Uint8Array): Ingredient => ({ what, content: sha256(content) })

/** The files that will be written: names, lengths, literal bytes, which arrays where. */
const outlineOf = (files: ReadonlyArray<TargetFile>): string => {
  const hash = createHash("sha256")
  for (const { name, segments, size } of files) {
    hash.update(JSON.stringify([name, size, segments.length]))
    for (const segment of segments) {
      switch (segment.kind) {
        case "bytes":
          hash.update(`b${segment.bytes.byteLength}:`).update(segment.bytes)
          break
        case "array":
          hash.update(JSON.stringify([segment.array.id, segment.array.dtype, segment.array.shape]))
          break
        case "seal":
          hash.update(`s${segment.length}:`)
          break
      }
    }
  }
  return hash.digest("hex")
}

export const fingerprintOf = (ingredients: ReadonlyArray<Ingredient>, files: ReadonlyArray<TargetFile>): Fingerprint => ({
  ingredients: [
    known("the version of this program", VERSION),
    ...ingredients,
    { what: "the plan of the files", content: outlineOf(files) }
  ]
})

/** What of `now` is not as it was; empty if one can go on with the other's work. */
export const changesBetween = (before: Fingerprint, now: Fingerprint): ReadonlyArray<string> => {
  const known = new Map(before.ingredients.map((i) => [i.what, i]))
  const changed = now.ingredients.filter((i) => known.get(i.what)?.content !== i.content || known.get(i.what)?.file !== i.file).map((i) => i.what)
  const names = new Set(now.ingredients.map((i) => i.what))
  return [...changed, ...before.ingredients.filter((i) => !names.has(i.what)).map((i) => i.what)]
}

/** The same for the same content, whatever machine it is on. */
export const contentOf = (fingerprint: Fingerprint): string => sha256(...fingerprint.ingredients.flatMap((i) => [i.what, i.content]))
