/**
 * Progress on stderr: a line that is drawn again on a terminal, a plain line every few seconds elsewhere, events for programs with
 * `--json-events`. Nothing when quiet; under `--json` and `--csv` on a terminal only.
 */
import { Effect } from "effect"
import { type Disk, shell, type Traffic, trafficInUse } from "../api/ground.ts"
import type { Watched } from "../api/progress.ts"
import { closingLine, plainLine, terminalLine } from "./progressLine.ts"
import { tell, tellOwn } from "./streams.ts"

export interface ProgressBar {
  readonly total: (bytes: number) => void
  readonly add: (bytes: number) => void
  /** Both, as the library tells them. */
  readonly onProgress: (progress: { readonly done: number; readonly total: number }) => void
}

/** The flags that decide what is shown. */
export interface ProgressFlags {
  readonly quiet: boolean
  readonly json: boolean
  readonly csv?: boolean
  /** `--no-progress` makes it false. */
  readonly progress?: boolean
  readonly jsonEvents?: boolean
}

const FRAME_MS = 100
const LINE_MS = 5000
/** The rate is that of the last seconds: a slow start must not promise hours. */
const WINDOW_MS = 5000
/** Narrower than any terminal that people read. */
const NARROWEST = 10

const silent: ProgressBar = { total: () => {}, add: () => {}, onProgress: () => {} }

/** Bytes a second over the last {@link WINDOW_MS}. */
export class Rate {
  readonly #marks: Array<{ readonly at: number; readonly done: number }> = []

  /** `at`: milliseconds. */
  mark(at: number, done: number): number {
    this.#marks.push({ at, done })
    while (this.#marks.length > 2 && this.#marks[1]!.at <= at - WINDOW_MS) this.#marks.shift()
    const first = this.#marks[0]!
    return at > first.at ? ((done - first.done) / (at - first.at)) * 1000 : 0
  }
}

type Shown = "terminal" | "lines" | "events" | "nothing"

const shownBy = ({ csv, json, jsonEvents, progress, quiet }: ProgressFlags): Shown => {
  if (jsonEvents) return "events"
  if (quiet || progress === false) return "nothing"
  if (process.stderr.isTTY) return "terminal"
  return json || csv ? "nothing" : "lines"
}

const event = (fields: object): void => { tell(`${JSON.stringify(fields)}\n`) }

interface ShownProgress {
  readonly progress: ProgressBar
  /** `complete`: the work succeeded. */
  readonly stop: (complete: boolean) => void
}

type Watch = () => Readonly<Traffic> | undefined

/** What of the network a phase has used since it began. */
const phaseTraffic = (traffic: Watch) => {
  const before = { ...traffic() }
  return () => {
    const now = traffic()
    if (now === undefined) return undefined
    const { bytes = 0, requests = 0, retries = 0, sent = 0 } = before
    const used = { bytes: now.bytes + now.sent - bytes - sent, requests: now.requests - requests, retries: now.retries - retries, waiting: now.waitingUntil > Date.now() }
    return used.requests === 0 ? undefined : used
  }
}

/** Progress of one phase, from now on. */
const running = (label: string, shown: Exclude<Shown, "nothing">, traffic: Watch, next?: ReadonlyArray<string>): ShownProgress => {
  const started = performance.now()
  const used = phaseTraffic(traffic)
  const networkRate = new Rate()
  networkRate.mark(started, 0)
  const rate = new Rate()
  rate.mark(started, 0)
  const state = { label, done: 0, total: 0 }
  let drawn = 0
  const draw = (): void => {
    if (state.total === 0) return
    drawn++
    const own = used()
    const of = own && { ...own, rate: networkRate.mark(performance.now(), own.bytes) }
    const now = { ...state, rate: rate.mark(performance.now(), state.done), ...(of ? { network: of } : {}) }
    if (shown === "events") event({ event: "progress", phase: label, done: now.done, total: now.total, bytesPerSecond: Math.round(now.rate), ...(own && of ? { network: { ...own, bytesPerSecond: Math.round(of.rate) } } : {}) })
    else if (shown === "lines") tell(`${plainLine(now)}\n`)
    // One column stays free: a full line would wrap on some terminals.
    else tellOwn(`\r\x1b[2K${terminalLine(now, Math.max(NARROWEST, process.stderr.columns ?? 80) - 1)}`)
  }
  const begin = (total: number): void => {
    state.total = total
    if (shown === "events") event({ event: "start", phase: label, total })
  }
  let begun = false
  const timer = setInterval(draw, shown === "lines" ? LINE_MS : FRAME_MS)
  return {
    progress: {
      total: begin,
      add: (n) => { state.done += n },
      onProgress: ({ done, total }) => {
        if (!begun) begin(total)
        begun = true
        state.done = done
      }
    },
    stop: (complete) => {
      clearInterval(timer)
      if (shown === "terminal") tellOwn("\r\x1b[2K")
      const seconds = (performance.now() - started) / 1000
      const own = used()
      const network = own === undefined ? {} : { network: { ...own, bytesPerSecond: Math.round(own.bytes / Math.max(seconds, 1e-3)) } }
      if (shown === "events") event({ event: complete ? "end" : "failed", phase: label, done: state.done, total: state.total, seconds, ...network })
      // A log that shows no progress needs no end of it.
      else if (complete && state.done > 0 && (shown === "terminal" || drawn > 0)) tell(`${closingLine(label, state.done, seconds)}\n`)
      const command = complete && shown === "terminal" && next ? shell("convert_megatron_mimo", ...next) : undefined
      if (command !== undefined) tell(`next: ${command}\n`)
    }
  }
}

/**
 * Show progress under `label` (`importing`) while `use` runs. `next`: the words of the command that usually follows; a person at a
 * terminal is told.
 */
export const withProgress = <A, E, R>(
  label: string,
  flags: ProgressFlags,
  use: (progress: ProgressBar) => Effect.Effect<A, E, R>,
  next?: ReadonlyArray<string>
): Effect.Effect<A, E, R | Disk> => {
  const shown = shownBy(flags)
  if (shown === "nothing") return use(silent)
  return Effect.acquireUseRelease(
    Effect.map(trafficInUse, (traffic) => running(label, shown, traffic, next)),
    ({ progress }) => use(progress),
    ({ stop }, exit) => Effect.sync(() => stop(exit._tag === "Success"))
  )
}

/** The same for work that tells its phases itself, one after the other. */
export const withPhases = <A, E, R>(flags: ProgressFlags, use: (onProgress: NonNullable<Watched["onProgress"]>) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Disk> => {
  const shown = shownBy(flags)
  if (shown === "nothing") return use(() => {})
  let current: (ShownProgress & { readonly phase: string }) | undefined
  return Effect.flatMap(trafficInUse, (traffic) => use(({ phase, ...progress }) => {
    if (current?.phase !== phase) {
      current?.stop(true)
      current = { phase, ...running(phase, shown, traffic) }
    }
    current.progress.onProgress(progress)
  })).pipe(Effect.onExit((exit) => Effect.sync(() => current?.stop(exit._tag === "Success"))))
}
