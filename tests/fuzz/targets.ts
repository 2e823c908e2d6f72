/** Everything that is fuzzed: see README.md here for how to add to it. */
import { commandLine } from "./commandLine.ts"
import { directories } from "./directories.ts"
import { documents } from "./documents.ts"
import { formats } from "./formats.ts"
import { plans } from "./plans.ts"
import type { Target } from "./Target.ts"

export const targets: ReadonlyArray<Target> = [...formats, ...documents, ...commandLine, ...plans, ...directories]
