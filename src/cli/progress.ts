/**
 * Progress on stderr: a bar with rate and time left on a terminal, a plain line every few seconds elsewhere, nothing when quiet.
 */
import { Effect } from "effect"
import { tell } from "./streams.ts"
import { bytes, duration } from "./text.ts"

export interface Progress {
  readonly total: (bytes: number) => void
  readonly add: (bytes: number) => void
}

const FRAME_MS = 100
const LINE_MS = 5000
const BAR = 24

const silent: Progress = { total: () => {}, add: () => {} }

/** Show progress under `label` while `use` runs. */
export const withProgress = <A, E, R>(
  label: string,
  quiet: boolean,
  use: (progress: Progress) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  if (quiet) return use(silent)
  const terminal = process.stderr.isTTY === true
  return Effect.acquireUseRelease(
    Effect.sync(() => {
      const started = performance.now()
      const state = { done: 0, total: 0 }
      const draw = () => {
        if (state.total === 0) return
        const share = Math.min(1, state.done / state.total)
        const seconds = (performance.now() - started) / 1000
        const rate = state.done / Math.max(seconds, 1e-3)
        const left = rate > 0 ? duration((state.total - state.done) / rate) : "?"
        const percent = `${Math.floor(share * 100)}%`.padStart(4)
        const figures = `${percent}  ${bytes(state.done)} of ${bytes(state.total)}  ${bytes(rate)}/s  ${left} left`
        if (!terminal) tell(`${label} ${figures}\n`)
        else {
          const full = Math.round(share * BAR)
          tell(`\r\x1b[2K${label} ${"█".repeat(full)}${"░".repeat(BAR - full)} ${figures}`)
        }
      }
      const timer = setInterval(draw, terminal ? FRAME_MS : LINE_MS)
      return {
        progress: {
          total: (n: number) => { state.total = n },
          add: (n: number) => { state.done += n }
        },
        stop: () => {
          clearInterval(timer)
          if (terminal) tell("\r\x1b[2K")
        }
      }
    }),
    ({ progress }) => use(progress),
    ({ stop }) => Effect.sync(stop)
  )
}
