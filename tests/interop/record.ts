/**
 * What `npm run interop` has just shown, held against the record from which `models` and docs/models.md are made (tests/proofs.ts):
 * `record.ts MODELS TRAINED [--update]`. MODELS: where writeModels.py, convertModels.ts, compareModels.py and roundTripLogits.py worked;
 * TRAINED: a folder of checkpoints with `logits.npy`, if it is there.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { architectureOf } from "../../src/bridge/FamilyRegistry.ts"
import { type InteropRecord, interopRecord, recordPath } from "../proofs.ts"

const [, , models, trained, update] = process.argv as [string, string, string, string, string | undefined]

const trainedModels = (): InteropRecord["trained"] =>
  existsSync(trained)
    ? Object.fromEntries(readdirSync(trained).filter((name) => existsSync(join(trained, name, "logits.npy"))).sort()
      .map((name) => [name, architectureOf(JSON.parse(readFileSync(join(trained, name, "hf/config.json"), "utf8")))]))
    : interopRecord().trained

const shown: InteropRecord = {
  bytes: readdirSync(models).filter((name) => existsSync(join(models, name, "exported")) && !name.endsWith(".v5")).sort(),
  logits: (JSON.parse(readFileSync(join(models, "logits.json"), "utf8")) as ReadonlyArray<string>).toSorted(),
  trained: trainedModels()
}

const text = `${JSON.stringify(shown, undefined, 1)}\n`
if (update === "--update") writeFileSync(recordPath, text)
else if (readFileSync(recordPath, "utf8") !== text) {
  console.error("FAILED what was shown is not what tests/interop/record.json says: look at the difference, then `node tests/interop/record.ts MODELS TRAINED --update` and `npm run docs`")
  writeFileSync(join(models, "record.json"), text)
  process.exitCode = 1
}
