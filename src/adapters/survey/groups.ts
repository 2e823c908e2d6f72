/** Adapters of the same modules, layer by layer, as tables and pictures show them. Pure. */
import { type AdapterFacts, type AdapterModule, leafOf } from "./AdapterFacts.ts"

export interface AdapterGroup {
  readonly leaf: string
  readonly stack?: string
  readonly rank: number
  readonly inputs: number
  readonly outputs: number
  readonly experts?: number
  readonly scale?: number
  readonly modules: ReadonlyArray<AdapterModule>
  /** Smallest and largest norm of a change, where all were measured. */
  readonly norms?: readonly [least: number, most: number]
}

/** Modules of one name, one stack and one size. */
export const adapterGroups = ({ modules }: Pick<AdapterFacts, "modules">): ReadonlyArray<AdapterGroup> =>
  [...Map.groupBy(modules, (m) => JSON.stringify([m.stack, leafOf(m), m.rank, m.inputs, m.outputs, m.experts, m.scale])).values()].map((own): AdapterGroup => {
    const [{ experts, inputs, outputs, rank, scale, stack }] = own as [AdapterModule]
    const norms = own.flatMap(({ norm }) => norm ?? [])
    return {
      leaf: leafOf(own[0]!),
      ...(stack === undefined ? {} : { stack }),
      rank,
      inputs,
      outputs,
      ...(experts === undefined ? {} : { experts }),
      ...(scale === undefined ? {} : { scale }),
      modules: own,
      ...(norms.length < own.length ? {} : { norms: [norms.reduce((least, n) => Math.min(least, n), Infinity), norms.reduce((most, n) => Math.max(most, n), 0)] as const })
    }
  })

const FORMS = { lora: "LoRA", canonical: "canonical LoRA", dora: "DoRA" } as const

const rounded = (n: number): string => String(Number(n.toPrecision(4)))

/** The settings in words: `LoRA`, `rank 8`, `alpha 16`. */
export const settingsText = ({ alpha, dropout, form, kind, problem, rank, rankStabilised }: AdapterFacts): ReadonlyArray<string> => [
  FORMS[form],
  ...(rank === undefined ? [] : [`rank ${rank}`]),
  alpha === undefined ? `alpha unknown (${problem === undefined ? kind === "peft" ? "no adapter_config.json" : "no run_config.yaml with a peft section" : "its configuration cannot be read"})` : `alpha ${rounded(alpha)}`,
  ...(rankStabilised ? ["scale alpha/√rank"] : []),
  ...(dropout === undefined ? [] : [`dropout ${rounded(dropout)}`])
]

/** `0.0123 … 4.56`, or one number. */
export const normsText = ([least, most]: readonly [number, number]): string => (rounded(least) === rounded(most) ? rounded(most) : `${rounded(least)} … ${rounded(most)}`)
