/**
 * What planners know of GPUs, in one place: vendors' figures per device (SXM), dense BF16, without sparsity. A JSON file of the same
 * form overrides or adds some. Usable memory and efficiencies are experience, not measured here: a measured step calibrates them.
 */

/** What is known of a GPU. */
export interface Gpu {
  /** GiB that a process can allocate. */
  readonly usableGiB: number
  /** Bytes per second. */
  readonly memoryBandwidth: number
  /** Dense BF16 operations per second. */
  readonly bf16: number
  /** Bytes per second between two GPUs of a domain, one way. */
  readonly nvlink: number
  /** GPUs of such a domain. */
  readonly nvlinkDomain: number
  /** Bytes per second of a GPU's share of the network, one way. */
  readonly fabric: number
}

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
