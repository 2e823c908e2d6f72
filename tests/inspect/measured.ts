/** The command line, in a process that says how much memory it took: `{"maxRss": KiB, "ms": …}` as the last line of stderr. */
import { main } from "../../src/cli/main.ts"

const started = performance.now()
process.on("exit", () => {
  process.stderr.write(`${JSON.stringify({ maxRss: process.resourceUsage().maxRSS, ms: performance.now() - started })}\n`)
})
main(process.argv.slice(2))
