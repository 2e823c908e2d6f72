/** Time passes quickly, so that what happens every so many seconds happens all the time. Returns the way back. */
export const hurry = (): (() => void) => {
  const now = performance.now
  let time = 0
  performance.now = () => (time += 700)
  return () => { performance.now = now }
}

/**
 * Nobody watches a silent lock for a minute: a wait of a second is over at once. For runs in this process that show no progress, which
 * would be shown all the time. Returns the way back.
 */
export const impatient = (): (() => void) => {
  const setTimeout = globalThis.setTimeout
  globalThis.setTimeout = Object.assign(
    (callback: (value?: unknown) => void, delay?: number, value?: unknown) => setTimeout(callback, delay === 1000 ? 0 : delay, value),
    setTimeout
  ) as typeof setTimeout
  return () => { globalThis.setTimeout = setTimeout }
}
