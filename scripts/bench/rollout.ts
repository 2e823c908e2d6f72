/**
 * `npm run bench:rollout [-- --size MB --dir DIR --repeats N --cold]`: a delta published beside `cat old new > /dev/null`, and pulled beside a
 * plain read and write of the touched tensors; medians, in shuffled rounds, by how many bytes have changed; and the bytes of the delta
 * beside zstd level 1 of the same XOR.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { constants, zstdCompressSync } from "node:zlib"

const { values } = parseArgs({ options: { size: { type: "string", default: "512" }, dir: { type: "string", default: "/dev/shm" }, repeats: { type: "string", default: "3" }, cold: { type: "boolean", default: false } } })
const bin = new URL("../../dist/bin.js", import.meta.url).pathname
const work = mkdtempSync(join(values.dir, "bench-rollout-"))
const TENSORS = 16
const each = Math.floor((Number(values.size) << 20) / TENSORS / 8192) * 8192
const median = (numbers: ReadonlyArray<number>): number => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!
const timed = (work: () => void): number => {
  const began = performance.now()
  work()
  return performance.now() - began
}

/** One file of BF16 matrices; the directory is what an engine would load. */
const write = (directory: string, data: Buffer): void => {
  mkdirSync(directory, { recursive: true })
  const header = Buffer.from(JSON.stringify(Object.fromEntries(Array.from({ length: TENSORS }, (_, i) => [`model.layers.${i}.weight`, { dtype: "BF16", shape: [each / 8192, 4096], data_offsets: [i * each, (i + 1) * each] }]))))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  writeFileSync(join(directory, "model.safetensors"), Buffer.concat([length, header, data]))
  writeFileSync(join(directory, "config.json"), "{}\n")
}
const weights = (directory: string): string => join(directory, "model.safetensors")

const run = (...args: ReadonlyArray<string>): void => { execFileSync(process.execPath, [bin, ...args, "--quiet"], { stdio: ["ignore", "ignore", "inherit"] }) }
const cat = (...files: ReadonlyArray<string>): void => { execFileSync("sh", ["-c", `cat ${files.map((file) => `'${file}'`).join(" ")} > /dev/null`]) }
/** Read, change nothing, write back, durably: what applying a delta cannot do without. */
const rewrite = (file: string): void => { execFileSync("sh", ["-c", `dd if='${file}' of='${file}' bs=4M conv=notrunc,fsync status=none`]) }
/** With `--cold`: the page cache forgets the files (POSIX_FADV_DONTNEED), as if they had not been looked at since they were written. */
const forget = (...files: ReadonlyArray<string>): void => {
  if (values.cold) for (const file of files) execFileSync("dd", [`of=${file}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"])
}

try {
  const start = timed(() => { spawnSync(process.execPath, [bin, "--version"]) })
  console.log(`${values.size} MiB, ${TENSORS} tensors, on ${values.dir}; the program's start, ${start.toFixed(0)} ms, is included`)
  const old = Buffer.allocUnsafe(each * TENSORS)
  let state = 1
  for (let i = 0; i < old.length; i += 4) old.writeInt32LE((state = Math.imul(state, 1103515245) + 12345 | 0), i)
  for (const share of [0, 0.001, 0.01, 0.03]) {
    const base = join(work, String(share))
    const [before, after] = [join(base, "old"), join(base, "new")]
    const now = Buffer.from(old)
    for (let left = Math.round(now.length * share); left > 0; left--) {
      state = Math.imul(state, 1103515245) + 12345 | 0
      now[(state >>> 0) % now.length]! ^= 1 + (left & 3)
    }
    write(before, old)
    write(after, now)
    const root = join(base, "versions")
    run("publish", before, root)
    const times = { cat: [] as Array<number>, publish: [] as Array<number>, rewrite: [] as Array<number>, pull: [] as Array<number> }
    for (let round = 0; round < Number(values.repeats); round++) {
      const [target, local, copy] = [join(base, `v${round}`), join(base, "local"), join(base, "copy")]
      cpSync(root, target, { recursive: true })
      run("pull", target, local, "--to", "1")
      mkdirSync(copy)
      cpSync(weights(before), weights(copy))
      const steps = [
        () => {
          forget(weights(before), weights(after))
          times.cat.push(timed(() => { cat(weights(before), weights(after)) }))
        },
        () => {
          forget(weights(before), weights(after))
          times.publish.push(timed(() => { run("publish", after, target, "--base", before) }))
          forget(weights(local))
          times.pull.push(timed(() => { run("pull", target, local) }))
        },
        () => {
          forget(weights(copy))
          times.rewrite.push(timed(() => { rewrite(weights(copy)) }))
        }
      ].sort(() => Math.random() - 0.5)
      for (const step of steps) step()
      if (round === 0) {
        const delta = join(target, "weight_v000002")
        const wire = readdirSync(delta).reduce((sum, name) => sum + statSync(join(delta, name)).size, 0)
        let published = 0
        for (let i = 0; i < TENSORS; i++) {
          const xor = Buffer.from(old.subarray(i * each, (i + 1) * each))
          for (let k = 0; k < each; k++) xor[k]! ^= now[i * each + k]!
          if (xor.some((byte) => byte !== 0)) published += zstdCompressSync(xor, { params: { [constants.ZSTD_c_compressionLevel]: 1 } }).length
        }
        console.log(`${(share * 100).toFixed(1)} % changed: ${(wire / 1e6).toFixed(2)} MB in all, ${(published / 1e6).toFixed(2)} MB of zstd 1${published === 0 ? "" : `, ${(wire / published).toFixed(4)} of it`}`)
        if (!readFileSync(weights(local)).equals(readFileSync(weights(after)))) throw new Error("the copy is not what was published")
      }
      for (const path of [target, local, copy]) rmSync(path, { recursive: true })
    }
    const [c, p, r, l] = [median(times.cat), median(times.publish), median(times.rewrite), median(times.pull)]
    console.log(`  publish ${p.toFixed(0)} ms, cat ${c.toFixed(0)} ms: ${(p / c).toFixed(2)} (${((p - start) / c).toFixed(2)} without the start); pull ${l.toFixed(0)} ms, read and write ${r.toFixed(0)} ms: ${(l / r).toFixed(2)} (${((l - start) / r).toFixed(2)})`)
    rmSync(base, { recursive: true })
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
