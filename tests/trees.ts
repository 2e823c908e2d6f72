/** What lies below a directory, to compare it with another. */
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs"
import { join } from "node:path"
import { crc32 } from "node:zlib"

const namesBelow = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(directory, name)).isFile()).sort()

/** Every file by its relative path. */
export const treeOf = (directory: string): ReadonlyMap<string, Buffer> =>
  new Map(namesBelow(directory).map((name) => [name, readFileSync(join(directory, name))]))

const room = Buffer.allocUnsafe(1 << 20)

/** Size and CRC-32, for what is too large to be kept. */
const sumOf = (path: string): string => {
  const file = openSync(path, "r")
  try {
    let [sum, at] = [0, 0]
    for (let count; (count = readSync(file, room, 0, room.length, at)) > 0; at += count) sum = crc32(room.subarray(0, count), sum)
    return `${at} ${sum}`
  } finally {
    closeSync(file)
  }
}

/** Every file's size and sum, by its relative path. */
export const sumsOf = (directory: string): Record<string, string> =>
  Object.fromEntries(namesBelow(directory).map((name) => [name, sumOf(join(directory, name))]))
