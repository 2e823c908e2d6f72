/** Small pieces of terminal text: sizes, tables, plurals. */
import stringWidth from "string-width"
import { stripVTControlCharacters } from "node:util"
import { styled } from "./terminal.ts"

const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"]

/** Decimal units, three significant digits: `1.42 GB`. */
export const bytes = (n: number): string => {
  let unit = 0
  let value = n
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  return unit === 0 ? `${n} B` : `${value.toPrecision(3)} ${UNITS[unit]}`
}

/** `4m 05s`, `12s`. */
export const duration = (seconds: number): string => {
  const s = Math.round(seconds)
  if (s < 60) return `${s}s`
  if (s < 3600) return `${Math.floor(s / 60)}m ${String(s % 60).padStart(2, "0")}s`
  return `${Math.floor(s / 3600)}h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}m`
}

export const plural = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`

/** `12 345 678` */
export const grouped = (n: number): string => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, " ")

/** Of the terminal, or as COLUMNS says; files and pipes have no edge. */
export const terminalWidth = (): number => process.stdout.columns ?? (Number(process.env["COLUMNS"]) || Number.POSITIVE_INFINITY)

/** Every line has room on the terminal. */
export const fits = (text: string): boolean =>
  text.split("\n").every((line) => stringWidth(stripVTControlCharacters(line)) <= terminalWidth())

/** Columns aligned by content; numbers to the right. The first row is the head. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = rows[0]!.map((_, k) => rows.reduce((widest, r) => Math.max(widest, (r[k] ?? "").length), 0))
  const numeric = rows[0]!.map((_, k) => rows.slice(1).every((r) => /^[\d.,x-]*( [KMGTP]?B)?$/.test(r[k] ?? "")))
  return rows
    .map((row, i) => {
      const line = row.map((cell, k) => (numeric[k] ? cell.padStart(widths[k]!) : cell.padEnd(widths[k]!))).join("  ").trimEnd()
      return `  ${i === 0 ? dim(line) : line}`
    })
    .join("\n")
}

export const dim = styled("dim")
export const bold = styled("bold")
export const good = styled("green")
export const bad = styled("red")
