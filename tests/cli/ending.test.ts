/** How a process of the command line ends. */
import { spawnSync } from "node:child_process"
import { expect, it } from "vitest"
import { program } from "../program.ts"

/** Runs before the program: JavaScript that says when `process.exit` is called, and `more`. */
const run = (more: string, ...args: ReadonlyArray<string>) => {
  const preload = `const exit = process.exit; process.exit = (...code) => { console.log("process.exit"); exit(...code) }; ${more}`
  const { status, stderr, stdout } = spawnSync(process.execPath, ["--import", `data:text/javascript,${encodeURIComponent(preload)}`, program, ...args], { encoding: "utf8", timeout: 60_000, killSignal: "SIGKILL" })
  return { status, out: stdout, err: stderr }
}

it.each([[["inspect", "/no/where"], 3], [["--unknown"], 2], [["models"], 0]])("%j ends by itself, as process.exit may wait for a compiler thread for ever", (args, code) => {
  const { out, status } = run("", ...args)
  expect([status, out.includes("process.exit")]).toEqual([code, false])
})

it("what stays open does not keep a command that failed", () => {
  expect(run("setInterval(() => {}, 1000)", "inspect", "/no/where")).toMatchObject({ status: 3, out: "process.exit\n" })
})
