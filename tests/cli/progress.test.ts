/** The line about work under way: never wider than the terminal, and of the last seconds. */
import stringWidth from "string-width"
import { describe, expect, it } from "vitest"
import { Rate } from "../../src/cli/progress.ts"
import { closingLine, plainLine, terminalLine } from "../../src/cli/progressLine.ts"

const state = { label: "importing", done: 43e9, total: 100e9, rate: 1.5e8 }

describe("a line of progress", () => {
  it("shows everything where there is room", () => {
    expect(terminalLine(state, 120)).toBe("importing ██████████░░░░░░░░░░░░░░  43%  43.0 GB of 100 GB  150 MB/s  6m 20s left")
  })

  it.each([100, 80, 79, 60, 59, 40, 39, 30, 20, 12, 9, 5, 1])("fits %i columns", (columns) => {
    for (const label of ["importing", "写入检查点", "é́", "👩‍👩‍👧 work"]) {
      for (const rate of [0, 1, 1.5e8, 9e12]) {
        for (const done of [0, 1, 43e9, 100e9, 150e9]) expect(stringWidth(terminalLine({ ...state, label, rate, done }, columns))).toBeLessThanOrEqual(columns)
      }
    }
  })

  it("leaves out the bar first, then sizes, then the rate", () => {
    expect(terminalLine(state, 60)).toBe("importing  43%  43.0 GB of 100 GB  150 MB/s  6m 20s left")
    expect(terminalLine(state, 40)).toBe("importing  43%  150 MB/s  6m 20s left")
    expect(terminalLine(state, 32)).not.toContain("GB of")
    expect(terminalLine(state, 32)).toContain("43%")
  })

  it("of a file says it in one plain line", () => {
    expect(plainLine(state)).toBe("importing  43%  43.0 GB of 100 GB  150 MB/s  6m 20s left")
  })

  it("at the end says how much, how long, how fast", () => {
    expect(closingLine("importing", 9.3e9, 4.8)).toBe("importing: 9.30 GB in 4.8s (1.94 GB/s)")
    expect(closingLine("importing", 9.3e11, 480)).toBe("importing: 930 GB in 8m 00s (1.94 GB/s)")
  })
})

describe("the rate", () => {
  it("is that of the last five seconds", () => {
    const rate = new Rate()
    rate.mark(0, 0)
    for (let second = 1; second <= 60; second++) rate.mark(second * 1000, second * 1e6)
    let last = 0
    for (let second = 61; second <= 66; second++) last = rate.mark(second * 1000, 60e6 + (second - 60) * 100e6)
    expect(last).toBe(100e6)
  })

  it("is none before anything was seen", () => expect(new Rate().mark(5, 0)).toBe(0))
})
