/** Copies of bytes as they are: runs of them, and single elements. Source and target do not overlap. */
import { copyBytes, define, type Definition, i32, i64, type I32, type Local, type Statement, v128, VECTOR } from "./assembler.ts"

/** From here on `memory.copy` is faster than vectors. */
const LONG = 256

/** `length` bytes, `count` times; steps from one run to the next are in bytes. */
export const copyRuns = (): Definition => define(["count", "source", "sourceStep", "target", "targetStep", "length"], (body, count, source, sourceStep, target, targetStep, length) => {
  const each = (run: () => void) =>
    body.for(i32.const(0), count, 1, () => {
      run()
      body.add(source, sourceStep)
      body.add(target, targetStep)
    })
  body.if(i32.ltS(length, i32.const(VECTOR)), () => {
    const words = body.let(i32.and(length, i32.const(-4)))
    each(() => {
      body.for(i32.const(0), words, 4, (i) => body.do(i32.store32(i32.add(target, i), i32.load32(i32.add(source, i)))))
      body.for(words, length, 1, (i) => body.do(i32.store8(i32.add(target, i), i32.load8(i32.add(source, i)))))
    })
  }, () => {
    body.if(i32.ltS(length, i32.const(LONG)), () => {
      const last = body.let(i32.sub(length, i32.const(VECTOR)))
      const vector = (i: I32) => v128.store(i32.add(target, i), v128.load(i32.add(source, i)))
      each(() => {
        body.for(i32.const(0), last, VECTOR, (i) => body.do(vector(i)))
        // Some of it a second time.
        body.do(vector(last))
      })
    }, () => each(() => body.do(copyBytes(target, source, length))))
  })
})

const ELEMENT: Readonly<Record<number, (target: I32, source: I32) => Statement>> = {
  1: (target, source) => i32.store8(target, i32.load8(source)),
  2: (target, source) => i32.store16(target, i32.load16(source)),
  4: (target, source) => i32.store32(target, i32.load32(source)),
  8: (target, source) => i64.store(target, i64.load(source))
}

/** Elements of 1, 2, 4 or 8 bytes in rows and columns; steps are in bytes. */
export const copyElements = (width: number): Definition =>
  define(
    ["rows", "columns", "source", "sourceRow", "sourceColumn", "target", "targetRow", "targetColumn"],
    (body, rows, columns, source, sourceRow, sourceColumn, target, targetRow, targetColumn) => {
      const along = (at: Local<"i32">, step: I32) => body.add(at, step)
      body.for(i32.const(0), rows, 1, () => {
        const from = body.let(source)
        const to = body.let(target)
        body.for(i32.const(0), columns, 1, () => {
          body.do(ELEMENT[width]!(to, from))
          along(from, sourceColumn)
          along(to, targetColumn)
        })
        along(source, sourceRow)
        along(target, targetRow)
      })
    }
  )
