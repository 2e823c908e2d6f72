/**
 * Hyper-connections: n parallel residual streams; each block reads, writes and mixes them by n² + 2n learned weights, scaled by
 * three scalars; a head joins the streams behind the last layer. Plain modules that stay in fp32.
 */
import type { Scope } from "./Scope.ts"

const FP32 = { keep: "F32" } as const

/** The mixing of `streams` residual streams around one attention or MLP. */
export const hyperConnection = (s: Scope, streams: number, hidden: number): void => {
  const weights = streams * (streams + 2)
  for (const scalar of ["alpha_pre", "alpha_post", "alpha_res"]) s.parameter(scalar, [1], FP32)
  s.parameter("bias", [weights], FP32)
  s.parameter("mapping_proj.weight", [weights, streams * hidden], FP32)
}

/** What joins the residual streams behind the last layer. */
export const hyperHead = (s: Scope, streams: number, hidden: number): void => {
  s.parameter("hc_head_fn", [streams, streams * hidden], FP32)
  s.parameter("hc_head_base", [streams], FP32)
  s.parameter("hc_head_scale", [1], FP32)
}
