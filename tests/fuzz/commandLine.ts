/** Fuzz targets: what users type. */
import { Option } from "effect"
import { arrange } from "../../src/api/requests.ts"
import { arrangementOf, engineOptions, parseSize } from "../../src/cli/flags/index.ts"
import { compileAllowed } from "../../src/plan/match.ts"
import { globs } from "../../src/inspect/glob.ts"
import type { Random } from "./Random.ts"
import { type Target, Wrong } from "./Target.ts"

const NUMBERS = [0, 1, 2, 8, 64, 1024, -1, 1.5, 1e99, -1e99, 2 ** 31, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]
const SIZES = ["1", "256MB", "1GiB", "1e99", "-1", "0", "999999999999999GiB", "1.5", "1.0005MB", "MB", "0x10", "1 KB", "1TB", "１", "1MB ", "", "\n", ".5GB", "1.GB"]
const WORDS = ["*", "**", "?", "{", "}", "{a,b}", ",", "a", "model.", "layers.0", "\\", "[", "(", ")", "+", "$", "^", ".", "\n", "é", "\u0000", "{{a},b}", "a*".repeat(60), "*a".repeat(200), "?".repeat(300), "{a,b}".repeat(20)]
const NAMES = ["", "model.layers.0.mlp.up_proj.weight", "a".repeat(5000), "ab".repeat(3000), "a\nb", "{a,b}", "*"]

const text = (r: Random, from: ReadonlyArray<string>): string => Array.from({ length: 1 + r.few(8) }, () => r.pick(from)).join("")
const maybe = <A>(value: A | null | undefined): Option.Option<A> => (value === undefined || value === null ? Option.none() : Option.some(value))
const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value, (_, v: unknown) => (typeof v === "number" && !Number.isFinite(v) ? String(v) : v)))
const parsed = (input: Uint8Array): Record<string, unknown> => JSON.parse(Buffer.from(input).toString()) as Record<string, unknown>
const number = (value: unknown): Option.Option<number> => Option.map(maybe(value), Number)

const size = (n: number, what: string): void => {
  if (!Number.isSafeInteger(n) || n < 0) throw new Wrong(`${what} is ${n}`)
}

export const commandLine: ReadonlyArray<Target> = [
  {
    name: "engine-flags",
    make: (r) => json({ concurrency: r.chance(2) ? r.pick(NUMBERS) : null, threads: r.chance(2) ? r.pick(NUMBERS) : null, maxMemory: r.chance(2) ? text(r, SIZES) : r.pick(SIZES) }),
    read: (input) => {
      const { concurrency, maxMemory, threads } = parsed(input)
      const options = engineOptions({ concurrency: number(concurrency), threads: number(threads), maxMemory: maybe(maxMemory as string), io: "auto" })
      size(options.concurrency ?? 1, "--concurrency")
      size(options.threads ?? 0, "--threads")
      size(options.maxMemory ?? 1, "--max-memory")
      size(parseSize(String(maxMemory), "max-memory"), "--max-memory")
    }
  },
  {
    name: "layout-flags",
    make: (r) => json({
      standard: r.chance(2),
      components: r.chance(2) ? [] : Array.from({ length: 1 + r.few(4) }, () => text(r, ["language=", "images=", "tp=", "2", ",", "pp=", "ep=", "4", "1e9", "-", " ", "layout=", "first_stage_layers=", "loss_as_stage=", "\"", "(t|)*"])),
      sizes: Object.fromEntries(["tp", "pp", "ep", "etp", "vpp"].map((k) => [k, r.chance(2) ? r.pick(NUMBERS) : null])),
      names: r.chance(2) ? ["language", "images"] : ["model"]
    }),
    read: (input) => {
      const { components, names, sizes, standard } = parsed(input) as { components: Array<string>; names: Array<string>; sizes: Record<string, unknown>; standard: boolean }
      const flags = { tp: number(sizes["tp"]), pp: number(sizes["pp"]), ep: number(sizes["ep"]), etp: number(sizes["etp"]), vpp: number(sizes["vpp"]) }
      const even = { firstStage: Option.none(), lastStage: Option.none(), embeddingStage: false, lossStage: false, pipelineLayout: Option.none() }
      const { layout } = arrange(arrangementOf({ standard, component: components, ...flags, ...even }))
      for (const { parallelism } of layout(names).components) {
        for (const [what, n] of Object.entries(parallelism)) if (typeof n === "number") size(n, what)
      }
    }
  },
  {
    name: "patterns",
    make: (r) => json({ patterns: Array.from({ length: r.few(4) }, () => text(r, WORDS)), name: r.chance(3) ? text(r, WORDS) : r.pick(NAMES) }),
    read: (input) => {
      const { name, patterns } = parsed(input) as { name: string; patterns: Array<string> }
      const answers = [globs, compileAllowed].map((compile) => { try { return compile(patterns)(name) } catch (error) { return error } })
      for (const answer of answers) if (typeof answer !== "boolean") throw answer
    }
  }
]
