import { describe, expect, it } from "vitest"
import { FormatError } from "../../src/errors.ts"
import { checkMetadata } from "../../src/torch/DcpCheck.ts"
import { decodeMetadata } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { parseObjectItem, readArchive } from "../../src/torch/ObjectItem.ts"
import { parseBytes } from "../../src/torch/Ranges.ts"
import { parseTensorItem } from "../../src/torch/TensorItem.ts"
import { readTrainState } from "../../src/torch/TrainState.ts"
import { cpuMs } from "../measure/cpu.ts"
import { fixture, random } from "./tools.ts"

/** A few bytes changed, moved, removed or doubled. */
const mutate = (original: Uint8Array, below: (n: number) => number): Buffer => {
  let bytes = Buffer.from(original)
  for (let times = 1 + below(4); times > 0; times--) {
    const at = below(bytes.length)
    const length = Math.min(1 + below(below(4) === 0 ? 200 : 6), bytes.length - at)
    switch (below(6)) {
      case 0: bytes[at] = below(256); break
      case 1: bytes[at]! ^= 1 << below(8); break
      case 2: bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]); break
      case 3: bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]); break
      case 4: bytes.fill([0, 0xff, 0x28, 0x71][below(4)]!, at, at + length); break
      default: bytes.copy(bytes, below(bytes.length), at, at + length)
    }
    if (bytes.length === 0) return bytes
  }
  return bytes
}

const survives = (name: string, rounds: number, read: (bytes: Uint8Array) => unknown) => {
  const original = fixture(name)
  const { below } = random(original.length)
  let refused = 0
  let slowest = 0
  for (let round = 0; round < rounds; round++) {
    const bytes = mutate(original, below)
    slowest = Math.max(slowest, cpuMs(() => {
      try {
        read(bytes)
      } catch (error) {
        if (!(error instanceof FormatError)) throw error
        refused++
      }
    }))
  }
  return { refused, slowest }
}

describe("damaged input is refused with a FormatError, in bounded time, or read", () => {
  it.each([
    ["mimo.metadata", 300],
    ["qwen3-moe.metadata", 500],
    ["min.metadata", 3000],
    ["mcore_0_15.metadata", 2000]
  ] as const)("%s", { timeout: 60_000 }, (name, rounds) => {
    const files = new Map([["__0_0.distcp", 1414544], ["__1_0.distcp", 454556]])
    const { refused, slowest } = survives(name, rounds, (bytes) => {
      const metadata = decodeMetadata(bytes)
      checkMetadata(metadata, files)
      encodeMetadata(metadata)
    })
    expect(refused).toBeGreaterThan(rounds / 4)
    expect(slowest).toBeLessThan(2000)
  })

  it.each([
    ["t_bf16_2x3.pt", (bytes: Uint8Array) => parseBytes(bytes, parseTensorItem(bytes.length))],
    ["view_window.pt", (bytes: Uint8Array) => parseBytes(bytes, parseTensorItem(bytes.length))],
    ["crc_not_computed.pt", (bytes: Uint8Array) => parseBytes(bytes, parseTensorItem(bytes.length))],
    ["common_state.pt", (bytes: Uint8Array) => parseBytes(bytes, parseObjectItem(bytes.length))],
    ["common_args.pt", readArchive],
    ["train_state.pt", readTrainState]
  ] as const)("%s", { timeout: 60_000 }, (name, read) => {
    const { refused, slowest } = survives(name, 3000, read)
    expect(refused).toBeGreaterThan(1000)
    expect(slowest).toBeLessThan(1000)
  })
})
