/** Changes that keep most of a sound input, so that the rest is reached. */
import type { Random } from "./Random.ts"

const INTERESTING = [0, 1, 2, 7, 8, 16, 31, 32, 63, 64, 127, 128, 255, 256, 511, 512, 4095, 4096, 32767, 32768, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff]

/** A few bytes changed, moved, removed, doubled, or replaced by numbers that sit on edges. */
export const mutateBytes = (original: Uint8Array, r: Random): Buffer => {
  let bytes = Buffer.from(original)
  for (let times = 1 + r.few(5); times > 0 && bytes.length > 0; times--) {
    const at = r.below(bytes.length)
    const length = Math.min(1 + r.below(r.chance(4) ? 300 : 8), bytes.length - at)
    switch (r.below(9)) {
      case 0: bytes[at] = r.below(256); break
      case 1: bytes[at]! ^= 1 << r.below(8); break
      case 2: bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]); break
      case 3: bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]); break
      case 4: bytes.fill(r.pick([0, 0xff, 0x28, 0x5d, 0x7d, 0x20]), at, at + length); break
      case 5: bytes.copy(bytes, r.below(bytes.length), at, at + length); break
      case 6: bytes = bytes.subarray(0, at); break
      default: {
        const width = r.pick([1, 2, 4, 8] as const)
        if (at + width > bytes.length) break
        const value = BigInt(r.pick(INTERESTING)) * (r.chance(4) ? 0x100000000n : 1n)
        const wrapped = BigInt.asUintN(8 * width, r.chance(3) ? -value : value)
        for (let i = 0; i < width; i++) bytes[at + i] = Number((wrapped >> BigInt(8 * i)) & 255n)
      }
    }
  }
  return bytes
}

export type Tree = null | boolean | number | string | { raw: string } | Array<Tree> | { [key: string]: Tree }

/** Tokens that JSON parsers and config readers stumble over; printed as they are. */
const TOKENS = [
  "0", "-0", "-1", "1.5", "1e400", "-1e400", "1e-400", "NaN", "Infinity", "-Infinity", "9007199254740991", "9007199254740992", "18446744073709551616", "1e15", "16777217", "100001",
  "null", "true", "false", "\"\"", "\"0\"", "\"__proto__\"", "\"\\ud800\"", "\"\\u0000\"", "[]", "{}", "[[]]", "[null]", "{\"\":{}}", "{\"__proto__\":1}", "01", "+1", ".5", "'x'", "undefined",
  "[1,2,3]", "[\"full_attention\"]", "[\"linear_attention\",\"full_attention\"]", "[0.5]", "[-1]", "[1e9]", "2", "3", "4", "8", "1", "1000", "100000", "4194304"
]

const paths = (tree: Tree, at: ReadonlyArray<string | number> = [], out: Array<ReadonlyArray<string | number>> = []): Array<ReadonlyArray<string | number>> => {
  out.push(at)
  if (Array.isArray(tree)) tree.forEach((item, i) => paths(item, [...at, i], out))
  else if (typeof tree === "object" && tree !== null && !("raw" in tree)) for (const [key, item] of Object.entries(tree)) paths(item as Tree, [...at, key], out)
  return out
}

/** A JSON value with a few of its parts replaced, removed, renamed, moved or doubled. The original stays as it is. */
export const mutateTree = (original: Tree, r: Random, words: ReadonlyArray<string> = []): Tree => {
  const tree = structuredClone(original)
  const all = paths(tree)
  for (let times = 1 + r.few(4); times > 0; times--) {
    const path = r.pick(all)
    if (path.length === 0) continue
    const parent = path.slice(0, -1).reduce<Tree | undefined>((node, key) => (node as Record<string, Tree> | undefined)?.[key as string], tree)
    if (typeof parent !== "object" || parent === null || "raw" in parent) continue
    const container = parent as Record<string | number, Tree>
    const key = path.at(-1)!
    const value = container[key]
    switch (r.below(8)) {
      case 0: delete container[key]; break
      case 1: container[r.chance(2) && words.length > 0 ? r.pick(words) : String(r.pick(all).at(-1) ?? "x")] = value ?? null; break
      case 2: if (Array.isArray(parent)) parent.splice(Number(key), 0, ...Array.from({ length: r.few(40) }, () => structuredClone(value ?? null))); break
      case 3: if (Array.isArray(parent)) parent.splice(Number(key), 1); break
      case 4: if (typeof value === "number") container[key] = r.pick([value + 1, value - 1, value * 2, value / 2, -value, value * 1000, 0]); break
      default: container[key] = { raw: r.pick(TOKENS) }
    }
  }
  return tree
}

export const print = (tree: Tree): string => {
  if (Array.isArray(tree)) return `[${tree.map(print).join(",")}]`
  if (typeof tree === "object" && tree !== null) {
    return "raw" in tree && typeof tree["raw"] === "string" ? tree["raw"] : `{${Object.entries(tree).map(([key, value]) => `${JSON.stringify(key)}:${print(value as Tree)}`).join(",")}}`
  }
  return JSON.stringify(tree)
}
