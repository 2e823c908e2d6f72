/** What is timed for one model: our commands, and the same bytes moved by others. */
import { mkdirSync, rmSync } from "node:fs"
import { makeCold, makeWarm, type Measured, measureOwn, measureShell } from "./measure.ts"

export interface Step {
  readonly name: string
  readonly prepare: () => void
  readonly run: () => Measured
}

/** Names that ratios and targets refer to. */
export const STEPS = {
  cpCold: "`cp && sync`, cold",
  cpWarm: "`cp && sync`, warm",
  dd: "`dd`, direct to direct",
  ddOutput: "`dd`, direct to direct, of the output's bytes",
  ddCached: "`dd`, buffered, in cache",
  importCold: "import, cold",
  importWarm: "import, warm",
  importBuffered: "import, cold, `--io buffered`",
  importThreads: "import, cold, `--threads 1`",
  exportCold: "export, cold",
  verify: "verify, cold",
  cat: "`cat` of both sides, cold",
  plan: "plan",
  peerSave: "Python: safetensors load + save",
  peerDcpSave: "Python: safetensors load + DCP save",
  peerDcpLoad: "Python: DCP load"
} as const

/** The data files of a directory, by `dd`. */
const dd = (from: string, to: string, flags: string): string =>
  `mkdir -p '${to}'; for f in $(find '${from}' -name '*.safetensors' -o -name '*.distcp'); do dd if="$f" of='${to}'/"$(basename "$f")" bs=8M ${flags} status=none; done; sync '${to}'`

const DIRECT = "iflag=direct oflag=direct"

export interface Paths {
  readonly bin: string
  readonly hf: string
  readonly megatron: string
  /** Taken away before every step. */
  readonly out: string
  /** A Python with torch and safetensors, if peers are wanted. */
  readonly python?: string | undefined
}

export const stepsOf = ({ bin, hf, megatron, out, python }: Paths): ReadonlyArray<Step> => {
  const own = (...args: ReadonlyArray<string>) => () => measureOwn(bin, [...args, "--quiet"])
  const shell = (command: string) => () => measureShell(command)
  const step = (name: string, from: ReadonlyArray<string>, state: "cold" | "warm", run: () => Measured): Step => ({
    name,
    prepare: () => {
      rmSync(out, { recursive: true, force: true })
      for (const directory of from) (state === "cold" ? makeCold : makeWarm)(directory)
    },
    run
  })
  const importArgs = ["import", "--hf-model", hf, "--megatron-path", out]
  const cp = `cp -r '${hf}' '${out}'; sync '${out}'/* '${out}'`
  const peers = new URL("./peers.py", import.meta.url).pathname
  const peer = (what: string, from: string) => shell(`'${python}' '${peers}' ${what} '${from}' '${out}'; find '${out}' -type f -exec sync {} +`)
  return [
    step(STEPS.cpCold, [hf], "cold", shell(cp)),
    step(STEPS.cpWarm, [hf], "warm", shell(cp)),
    step(STEPS.dd, [hf], "cold", shell(dd(hf, out, DIRECT))),
    step(STEPS.ddOutput, [megatron], "cold", shell(dd(megatron, out, DIRECT))),
    {
      // Over a file whose pages are cached: nothing but copying in memory.
      name: STEPS.ddCached,
      prepare: () => {
        rmSync(out, { recursive: true, force: true })
        mkdirSync(out, { recursive: true })
        measureShell(`cp '${hf}'/*.safetensors '${out}'`)
        makeWarm(hf)
      },
      run: shell(`for f in '${hf}'/*.safetensors; do dd if="$f" of='${out}'/"$(basename "$f")" bs=8M conv=notrunc status=none; done`)
    },
    step(STEPS.importCold, [hf], "cold", own(...importArgs)),
    step(STEPS.importThreads, [hf], "cold", own(...importArgs, "--threads", "1")),
    step(STEPS.importWarm, [hf], "warm", own(...importArgs)),
    step(STEPS.importBuffered, [hf], "cold", own(...importArgs, "--io", "buffered")),
    step(STEPS.exportCold, [megatron], "cold", own("export", "--hf-model", hf, "--megatron-path", megatron, "--hf-path", out)),
    step(STEPS.verify, [hf, megatron], "cold", own("verify", "--hf-model", hf, "--megatron-path", megatron)),
    step(STEPS.cat, [hf, megatron], "cold", shell(`find '${hf}' '${megatron}' -type f -exec cat {} + > /dev/null`)),
    step(STEPS.plan, [], "warm", own("plan", "--hf-model", hf)),
    ...(python === undefined ? [] : [
      step(STEPS.peerSave, [hf], "cold", peer("save", hf)),
      step(STEPS.peerDcpSave, [hf], "cold", peer("dcp-save", hf)),
      step(STEPS.peerDcpLoad, [megatron], "cold", peer("dcp-load", megatron))
    ])
  ]
}
