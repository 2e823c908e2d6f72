/**
 * Command lines that were written for the reference's conversion programs (`convert_megatron_mimo.py`, `scripts/conversion`) run
 * unchanged: its spellings of our flags are translated, flags for what does not exist here (GPUs, process groups, Slurm jobs that
 * it submits itself) are taken away with one line each that says why. Facts: Megatron-Bridge 067f987d, `scripts/conversion/arguments.py`
 * and `examples/conversion`.
 */

type Meaning =
  /** Another name of a flag here. */
  | { readonly is: string }
  /** Not needed here; `value`: an argument follows it. */
  | { readonly needless: string; readonly value: boolean }

const is = (flag: string): Meaning => ({ is: flag })
const without = (needless: string): Meaning => ({ needless, value: false })
const withValue = (needless: string): Meaning => ({ needless, value: true })

const NO_GPU = "bytes are moved without a GPU"
const NO_PROCESSES = "there is no process group to set up"
const NO_JOB = "no job is submitted: put the command into a job script"
const STREAMED = "weights are streamed in bounded memory anyway"

const MEANINGS: Readonly<Record<string, Meaning>> = {
  "-tp": is("--tp"),
  "--tensor-parallel-size": is("--tp"),
  "--tensor-model-parallel-size": is("--tp"),
  "-pp": is("--pp"),
  "--pipeline-parallel-size": is("--pp"),
  "--pipeline-model-parallel-size": is("--pp"),
  "-ep": is("--ep"),
  "--expert-parallel-size": is("--ep"),
  "--expert-model-parallel-size": is("--ep"),
  "-etp": is("--etp"),
  "--expert-tensor-parallel-size": is("--etp"),
  "--tp-size": is("--tp"),
  "--pp-size": is("--pp"),
  "--ep-size": is("--ep"),
  "--hf-model-id": is("--hf-model"),
  "--hf-model-path": is("--hf-model"),
  "--megatron-model-path": is("--megatron-path"),
  "--megatron-load-path": is("--megatron-path"),
  "--megatron-save-path": is("--megatron-path"),
  "--hf-save-path": is("--hf-path"),
  "--export-weight-dtype": is("--torch-dtype"),
  "--submission-dry-run": is("--dry-run"),
  "--device": withValue(NO_GPU),
  "--device-map": withValue(NO_GPU),
  "--gpus-per-node": withValue(NO_GPU),
  "--gres": withValue(NO_GPU),
  "--use-cpu-initialization": without(NO_GPU),
  "--no-gpu-resource-request": without(NO_GPU),
  "--distributed-timeout-minutes": withValue(NO_PROCESSES),
  "--executor": withValue(NO_JOB),
  "--nodes": withValue(NO_JOB),
  "--mem": withValue(NO_JOB),
  "--account": withValue(NO_JOB),
  "--partition": withValue(NO_JOB),
  "--time": withValue(NO_JOB),
  "--exclusive": without(NO_JOB),
  "--container-image": withValue(NO_JOB),
  "--mount": withValue(NO_JOB),
  "--env": withValue(NO_JOB),
  "--srun-arg": withValue(NO_JOB),
  "--experiment-name": withValue(NO_JOB),
  "--detach": without(NO_JOB),
  "--low-memory-save": without(STREAMED),
  "--distributed-save": without(STREAMED),
  "--no-distributed-save": without(STREAMED),
  "--no-low-memory-save": without(STREAMED),
  "--save-every-n-ranks": withValue(STREAMED),
  "--cp": withValue("context parallelism does not cut weights"),
  "--context-parallel-size": withValue("context parallelism does not cut weights"),
  "--ckpt-format": withValue("torch_dist is what is written, and what Megatron-Core loads under any layout"),
  "--use-te": without("keys are those of Transformer Engine's modules anyway"),
  "--verify": without("`verify` compares the two afterwards, byte by byte"),
  "--test": without("`verify` compares the two afterwards, byte by byte"),
  "--strict": without("every tensor is accounted for anyway"),
  "--not-strict": without("keys may not differ unseen here; --allow-unmapped PATTERN leaves named tensors behind")
}

const ANY_LAYOUT = "an export reads any layout"
const EXACT = "bytes are compared, not closeness"

/** What has another meaning in one command. */
const IN_COMMAND: Readonly<Record<string, Readonly<Record<string, Meaning>>>> = {
  import: { "--hf-path": is("--hf-model"), "--output": is("--megatron-path"), "--output-path": is("--megatron-path"), "--out-path": is("--megatron-path") },
  export: Object.fromEntries(["--tp", "--pp", "--ep", "--etp"].map((flag) => [flag, withValue(ANY_LAYOUT)])),
  roundtrip: {
    "--megatron-load-path": is("--megatron-load-path"),
    "--megatron-save-path": is("--megatron-save-path"),
    "--torch-dtype": withValue("tensors keep their own dtypes"),
    "--atol": withValue(EXACT),
    "--rtol": withValue(EXACT)
  }
}

/** Subcommands that the reference has. */
const REFERENCE_COMMANDS: ReadonlySet<string> = new Set(["import", "export", "roundtrip", "verify", "plan"])

export interface Translated {
  readonly args: ReadonlyArray<string>
  /** One for each flag that was taken away. */
  readonly notes: ReadonlyArray<string>
}

/** `--a_b` is `--a-b`; the value of `--a-b=c` stays as it is. */
const spelled = (flag: string): string => (flag.startsWith("--") ? flag.replaceAll("_", "-") : flag)

/** What a flag stands for: another name may stand for one that is not needed. */
const meaningOf = (meanings: Readonly<Record<string, Meaning>>, flag: string): Meaning | undefined => {
  const meaning = Object.hasOwn(meanings, flag) ? meanings[flag]! : undefined
  return meaning !== undefined && "is" in meaning && meaning.is !== flag ? meaningOf(meanings, meaning.is) ?? meaning : meaning
}

/** The word that names the command: the first that is neither a flag nor the value of one that stands before commands. */
export const commandOf = (args: ReadonlyArray<string>): string | undefined =>
  args.find((arg, i) => !arg.startsWith("-") && args[i - 1] !== "--log-level" && args[i - 1] !== "--completions")

/** Flags of the reference's launcher that a planned layout asks for too. */
const OF_PLANS: ReadonlySet<string> = new Set(["--nodes", "--gpus-per-node"])

/** `--component auto`: the layout depends on nodes and GPUs. */
const plansLayout = (args: ReadonlyArray<string>): boolean =>
  args.some((arg, i) => arg === "--component=auto" || arg === "-c=auto" || (arg === "auto" && (args[i - 1] === "--component" || args[i - 1] === "-c")))

/** Translate a command line. Pure; arguments that are nobody's stay, so that the parser names them. */
export const fromReference = (args: ReadonlyArray<string>): Translated => {
  const command = commandOf(args) ?? ""
  if (!REFERENCE_COMMANDS.has(command)) return { args: lowerLogLevel(args), notes: [] }
  const reference: Readonly<Record<string, Meaning>> = { ...MEANINGS, ...IN_COMMAND[command] }
  const meanings = plansLayout(args) ? Object.fromEntries(Object.entries(reference).filter(([flag]) => !OF_PLANS.has(flag))) : reference
  const translated: Array<string> = []
  const notes: Array<string> = []
  let weightDtype = false
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!
    if (arg === "--") {
      translated.push(...args.slice(i))
      break
    }
    const equals = arg.startsWith("-") ? arg.indexOf("=") : -1
    const flag = spelled(equals < 0 ? arg : arg.slice(0, equals))
    const value = equals < 0 ? undefined : arg.slice(equals + 1)
    const meaning = meaningOf(meanings, flag)
    if (meaning === undefined) translated.push(flag.startsWith("--") ? flag + (value === undefined ? "" : `=${value}`) : arg)
    else if ("is" in meaning) {
      weightDtype ||= flag === "--export-weight-dtype"
      translated.push(meaning.is + (value === undefined ? "" : `=${value}`))
    } else {
      notes.push(`${flag} is not needed: ${meaning.needless}`)
      if (meaning.value && value === undefined) i++
    }
  }
  return { args: lowerLogLevel(weightDtype ? lastOnly(translated, "--torch-dtype") : translated), notes }
}

/** The model's precision and the exported weights' are one here: what was said of the weights holds. */
const lastOnly = (args: ReadonlyArray<string>, flag: string): ReadonlyArray<string> => {
  const places = args.flatMap((arg, i) => (arg === flag || arg.startsWith(`${flag}=`) ? [i] : []))
  const dropped = new Set(places.slice(0, -1).flatMap((i) => (args[i] === flag ? [i, i + 1] : [i])))
  return args.filter((_, i) => !dropped.has(i))
}

/** Python's level names are upper case. */
const lowerLogLevel = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
  args.map((arg, i) => (args[i - 1] === "--log-level" ? arg.toLowerCase() : arg.startsWith("--log-level=") ? arg.toLowerCase() : arg))
