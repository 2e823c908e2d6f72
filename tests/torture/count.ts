/** Runs the command line and prints, last of all on stderr, how many calls it made. */
import { Layer } from "effect"
import { main } from "../../src/cli/main.ts"
import { Disk, nodeCalls } from "../../src/io/Disk.ts"
import { faultyDisk } from "./FaultyDisk.ts"
import { hurry } from "./hurry.ts"

hurry()
const disk = faultyDisk(nodeCalls, () => undefined)
process.on("exit", () => process.stderr.write(`\n${disk.made.length}\n`))
main(process.argv.slice(2), Layer.succeed(Disk, disk))
