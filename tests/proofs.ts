/** What tests show of each architecture, read from what they do: their cases, their toys, and the record that `npm run interop` holds itself to. */
import { readFileSync } from "node:fs"
import { architectureOf } from "../src/bridge/FamilyRegistry.ts"
import { toyConfig, toyNames } from "./forward/toys.ts"

/** Of architectures that transformers has, by name. */
export interface InteropRecord {
  /** Written by transformers, imported and exported: the same bytes, from either of its formats. */
  readonly bytes: ReadonlyArray<string>
  /** The exported model computes the same logits, bit for bit. */
  readonly logits: ReadonlyArray<string>
  /** Checkpoints that a trainer saved on GPUs, with what it computed there: exported, they compute the same to its noise. */
  readonly trained: Readonly<Record<string, string>>
}

export const recordPath = new URL("interop/record.json", import.meta.url)
export const interopRecord = (): InteropRecord => JSON.parse(readFileSync(recordPath, "utf8")) as InteropRecord

/** What is shown of an architecture with transformers and with GPUs. */
export interface Proofs {
  readonly gpu: ReadonlyArray<string>
  readonly transformers: "logits" | "bytes" | null
  /** Our own forward pass is held against that of transformers. */
  readonly forward: boolean
}

export const proofs = (): ((architecture: string) => Proofs) => {
  const record = interopRecord()
  const [logits, bytes] = [new Set(record.logits), new Set(record.bytes)]
  const forward = new Set(toyNames.map((name) => architectureOf(toyConfig(name))))
  return (architecture) => ({
    gpu: Object.entries(record.trained).filter(([, own]) => own === architecture).map(([name]) => name),
    transformers: logits.has(architecture) ? "logits" : bytes.has(architecture) ? "bytes" : null,
    forward: forward.has(architecture)
  })
}
