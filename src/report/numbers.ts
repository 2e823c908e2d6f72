/** Numbers as a reader wants them. */

const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"]

/** Decimal units, three significant digits: `1.42 GB`. */
export const sizeText = (n: number): string => {
  let [unit, value] = [0, n]
  while (value >= 999.5 && unit < UNITS.length - 1) [unit, value] = [unit + 1, value / 1000]
  return unit === 0 ? `${Math.round(n)} B` : `${value.toPrecision(3)} ${UNITS[unit]}`
}

/** Thin spaces between thousands. */
export const countText = (n: number): string => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, "\u2009")
