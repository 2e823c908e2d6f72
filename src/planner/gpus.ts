/**
 * What planners know of GPUs, in one place: vendors' figures per device (SXM), dense BF16, without sparsity. A JSON file of the same
 * form overrides or adds some. Usable memory and efficiencies are experience, not measured here: a measured step calibrates them.
 */
import { z } from "zod"

const positive = z.number().positive().max(1e18)

export const gpuSchema = z.strictObject({
  /** GiB that a process can allocate. */
  usableGiB: positive,
  /** Bytes per second. */
  memoryBandwidth: positive,
  /** Dense BF16 operations per second. */
  bf16: positive,
  /** Bytes per second between two GPUs of a domain, one way. */
  nvlink: positive,
  nvlinkDomain: z.int().min(1).max(1_000_000),
  /** Bytes per second of a GPU's share of the network, one way. */
  fabric: positive
})

/** What is known of a GPU: GiB, bytes per second, operations per second. */
export type Gpu = z.infer<typeof gpuSchema>

export const gpuFileSchema = z.record(z.string().max(100), gpuSchema)

/** The GPUs that are known, by name. */
export const GPUS: Readonly<Record<string, Gpu>> = {
  "a100-80": { usableGiB: 79.2, memoryBandwidth: 2.04e12, bf16: 312e12, nvlink: 300e9, nvlinkDomain: 8, fabric: 25e9 },
  h100: { usableGiB: 79.6, memoryBandwidth: 3.35e12, bf16: 989.4e12, nvlink: 450e9, nvlinkDomain: 8, fabric: 50e9 },
  h200: { usableGiB: 140, memoryBandwidth: 4.8e12, bf16: 989.4e12, nvlink: 450e9, nvlinkDomain: 8, fabric: 50e9 },
  b200: { usableGiB: 179, memoryBandwidth: 7.7e12, bf16: 2250e12, nvlink: 900e9, nvlinkDomain: 8, fabric: 50e9 },
  gb200: { usableGiB: 185, memoryBandwidth: 8e12, bf16: 2500e12, nvlink: 900e9, nvlinkDomain: 72, fabric: 50e9 }
}

/** Shares of the peak that training reaches. */
export interface Efficiency {
  readonly language: number
  readonly tower: number
}

/** By experience: less for experts and narrow models. */
export const usualEfficiency = ({ experts, hidden }: { readonly experts: boolean; readonly hidden: number }): Efficiency =>
  ({ language: experts || hidden < 4096 ? 0.3 : 0.4, tower: 0.28 })
