/** Under every MIMO layout of the cases, each rank's file has the size that the reference's has: the same items lie in it. */
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { formOfCase, layoutOf, referenceDtype } from "../../src/conformance/Runner.ts"
import { planImport } from "../../src/plan/ImportPlan.ts"
import { sourceOf } from "../families/toys.ts"
import { caseNames, loadCase } from "./cases.ts"

/** `__<rank>_0.distcp`: what loaders ask for. What only ours keeps lies in `__<rank>_1.distcp`. */
const MAIN = /__\d+_0\.distcp$/

const layouts = caseNames.filter((name) => name.startsWith("mimo-qwen")).map(loadCase).filter((c) => c.megatron)

it.each(layouts.map((c) => [c.case, c] as const))("%s", (_, c) => {
  const source = sourceOf({ architecture: c.architecture, configText: c.hf.configText }, c.hf.tensors)
  const { checkpoint } = planImport(families.find(c.hf.config), source, {
    form: formOfCase(c),
    layout: layoutOf(c),
    torchDtype: referenceDtype(c.megatron!.entries),
    mtp: "keep",
    allowUnmapped: [],
    step: 0
  })
  const ours = checkpoint.files.filter((f) => MAIN.test(f.name)).map((f) => [f.name, f.size])
  const theirs = c.megatron!.files.filter(([file]) => MAIN.test(file)).map(([file, size]) => [file.split("/").at(-1), size])
  expect(ours.sort()).toEqual(theirs.sort())
})
