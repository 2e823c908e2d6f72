/** For every family: the plan covers both sides exactly, and any tensor that is removed, renamed or reshaped is named in an error. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import type { SourceTensor } from "../../src/conformance/Case.ts"
import { describeSource } from "../../src/plan/importRelation.ts"
import { draftOf } from "../../src/relabel/Draft.ts"
import { rules } from "../../src/relabel/rules/index.ts"
import { importOf } from "./inMemory.ts"
import { sourceOf, type Toy, toys } from "./toys.ts"

const messageOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    return (error as Error).message
  }
  return "(accepted)"
}

/** A few tensors of each kind of name; all of a large toy would take long. */
const picked = (toy: Toy): ReadonlyArray<SourceTensor> => {
  const kinds = new Map<string, SourceTensor>()
  for (const tensor of toy.tensors) kinds.set(tensor.name.replace(/\d+/g, "#"), tensor)
  return [...kinds.values()]
}

it("every architecture has a toy", () => {
  const covered = new Set(toys.map((toy) => toy.architecture))
  expect(families.architectures.filter((a) => !covered.has(a))).toEqual([])
})

describe.each(toys.map((toy) => [toy.name, toy] as const))("%s", (_, toy) => {
  it("is planned without a remainder", () => {
    expect(messageOf(() => importOf(toy))).toBe("(accepted)")
  })

  it("as MIMO every parameter belongs to a component", () => {
    const standard = importOf(toy).report
    const message = messageOf(() => {
      const { report } = importOf(toy, "mimo")
      expect(report.components.reduce((n, c) => n + c.tensors, 0)).toBe(standard.components[0]!.tensors)
    })
    expect(message).toMatch(/^\(accepted\)$|^MIMO: this model has a single component/)
  })

  it("names of wrapped components are those that relabelling gives", () => {
    const message = messageOf(() => {
      const [hook, ddp] = (["hook", "ddp"] as const).map((route) => importOf(toy, "mimo", toy.tensors, route).checkpoint.metadata)
      const wrapped = rules.ddp(draftOf(hook!), { components: { problem: "not asked for", hint: "" }, runConfig: undefined })
      expect([[...ddp!.tensors.keys()], [...ddp!.objects.keys()]]).toEqual([[...wrapped.tensors.keys()], [...wrapped.objects.keys()]])
    })
    expect(message).toMatch(/^\(accepted\)$|^MIMO: this model has a single component/)
    expect(messageOf(() => importOf(toy, "standard", toy.tensors, "ddp"))).toContain("--load-route ddp is for MegatronMIMO")
  })

  it("a tensor that is missing, renamed or reshaped is named", () => {
    const unnoticed: Array<string> = []
    const { conversion, report } = importOf(toy)
    const { vocabulary } = describeSource(families.find(toy.config), sourceOf(toy, toy.tensors)).description
    for (const victim of picked(toy)) {
      const others = toy.tensors.filter((t) => t !== victim)
      const optional = report.carried.includes(victim.name) && !conversion.hf.has(victim.name)
      const broken = {
        removed: others,
        renamed: [...others, { ...victim, name: `${victim.name}_x` }],
        reshaped: [...others, { ...victim, shape: [...victim.shape, 2] }]
      }
      for (const [how, tensors] of Object.entries(broken)) {
        if (optional && how !== "renamed") continue
        // A head that is the embedding stands in for it.
        if (how === "removed" && vocabulary?.tied && victim.name === vocabulary.embedding && report.carried.includes(vocabulary.head)) continue
        const message = messageOf(() => importOf(toy, "standard", tensors))
        if (!message.includes(victim.name)) unnoticed.push(`${how} ${victim.name}: ${message}`)
      }
    }
    expect(unnoticed).toEqual([])
  })
})
