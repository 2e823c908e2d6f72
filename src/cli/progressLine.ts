/** One line about work under way, never wider than the terminal: what does not fit is left out, the least important first. */
import stringWidth from "string-width"
import { bytes, duration } from "./text.ts"

export interface State {
  /** What is being done, e.g. `importing`. */
  readonly label: string
  /** Bytes. */
  readonly done: number
  readonly total: number
  /** Bytes a second, of late. */
  readonly rate: number
  /** What goes over the network, if anything does: bytes a second of late, repeated requests. */
  readonly network?: { readonly rate: number; readonly retries: number; readonly waiting: boolean }
}

const BAR = 24
const SHORTEST_BAR = 8

const percent = ({ done, total }: State): string => `${Math.floor(Math.min(1, done / total) * 100)}%`.padStart(4)

const left = ({ done, rate, total }: State): string => `${rate > 0 ? duration(Math.max(0, total - done) / rate) : "?"} left`

/** `network 95 MB/s, 3 retries`, or nothing. */
const net = ({ network }: State): string =>
  network === undefined ? "" : `network ${network.waiting ? "waits" : `${bytes(network.rate)}/s`}${network.retries === 0 ? "" : `, ${network.retries} ${network.retries === 1 ? "retry" : "retries"}`}`

const bar = ({ done, total }: State, width: number): string => {
  const full = Math.round(Math.min(1, done / total) * width)
  return "█".repeat(full) + "░".repeat(width - full)
}

/** The longest beginning of `text` that is at most `columns` wide. */
const cut = (text: string, columns: number): string => {
  let width = 0
  let end = 0
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    width += stringWidth(segment)
    if (width > columns) break
    end += segment.length
  }
  return text.slice(0, end)
}

/** For a file or a pipe, which have no width. */
export const plainLine = (state: State): string =>
  `${state.label} ${percent(state)}  ${bytes(state.done)} of ${bytes(state.total)}  ${bytes(state.rate)}/s  ${left(state)}${state.network === undefined ? "" : `  ${net(state)}`}`

/** At most `columns` wide. */
export const terminalLine = (state: State, columns: number): string => {
  const sizes = `${bytes(state.done)} of ${bytes(state.total)}`
  const rate = `${bytes(state.rate)}/s`
  const forms = [
    ...(state.network === undefined ? [] : [[percent(state), sizes, rate, left(state), net(state)], [percent(state), rate, left(state), net(state)]]),
    [percent(state), sizes, rate, left(state)],
    [percent(state), rate, left(state)],
    [percent(state), left(state)],
    [percent(state)]
  ]
  for (const form of forms) {
    const figures = form.join("  ")
    const room = columns - stringWidth(state.label) - stringWidth(figures) - 2
    if (room >= SHORTEST_BAR) return `${state.label} ${bar(state, Math.min(BAR, room))} ${figures}`
    if (room >= -1) return `${state.label} ${figures}`
  }
  return cut(`${state.label} ${percent(state)}`, columns)
}

/** What was done, for the last line. */
export const closingLine = (label: string, done: number, seconds: number): string =>
  `${label}: ${bytes(done)} in ${seconds < 10 ? `${seconds.toFixed(1)}s` : duration(seconds)} (${bytes(done / Math.max(seconds, 1e-3))}/s)`
