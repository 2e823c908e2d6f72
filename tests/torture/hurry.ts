/**
 * Time passes quickly, so that what happens every so many seconds happens all the time, and nobody watches a silent lock for a minute.
 * Returns the way back.
 */
export const hurry = (): (() => void) => {
  const [now, setTimeout] = [performance.now, globalThis.setTimeout]
  let time = 0
  performance.now = () => (time += 700)
  // A second is over at once; longer delays are limits of the tests themselves.
  globalThis.setTimeout = Object.assign(
    (callback: (value?: unknown) => void, delay?: number, value?: unknown) => setTimeout(callback, delay === 1000 ? 0 : delay, value),
    setTimeout
  ) as typeof setTimeout
  return () => {
    performance.now = now
    globalThis.setTimeout = setTimeout
  }
}
