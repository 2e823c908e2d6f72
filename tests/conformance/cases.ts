/** The committed conformance cases, parsed. */
import * as fs from "node:fs"
import { type ConformanceCase, readCase } from "../../src/conformance/Case.ts"

const directory = new URL("./cases/", import.meta.url)

export const caseNames: ReadonlyArray<string> = fs.readdirSync(directory).map((file) => file.replace(/\.json$/, "")).sort()

export const caseBytes = (name: string): Uint8Array => fs.readFileSync(new URL(`${name}.json`, directory))

export const loadCase = (name: string): ConformanceCase => readCase(caseBytes(name))
