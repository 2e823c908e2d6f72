/** `target[i] ^= source[i]`, for `length` bytes that do not overlap. */
import { define, type Definition, i32, v128, VECTOR } from "./assembler.ts"

export const xorBytes = (): Definition => define(["target", "source", "length"], (body, target, source, length) => {
  const vectors = body.let(i32.and(length, i32.const(-VECTOR)))
  body.for(i32.const(0), vectors, VECTOR, (i) => {
    const to = body.let(i32.add(target, i))
    body.do(v128.store(to, v128.xor(v128.load(to), v128.load(i32.add(source, i)))))
  })
  body.for(vectors, length, 1, (i) => {
    const to = body.let(i32.add(target, i))
    body.do(i32.store8(to, i32.xor(i32.load8(to), i32.load8(i32.add(source, i)))))
  })
})
