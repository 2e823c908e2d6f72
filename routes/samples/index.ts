/**
 * Deterministic sample models: published structures, at toy or at published dimensions (with fewer layers or experts where a
 * size asks for it). `sample` writes them, so that everything can be tried and measured without a download.
 */
import { deepseekV3Fp8 } from "./deepseek_v3.ts"
import { llavaSample, whisperSample } from "./llava.ts"
import { qwen3_5VlSample, qwen3_5VlMoeSample } from "./qwen3_5.ts"
import { qwen3MoeSample, qwen3VlMoeSample } from "./qwen3_moe.ts"
import type { Sample, SampleSize } from "./Sample.ts"

export type { Sample, SampleSize }

export const samples: Readonly<Record<string, Readonly<Record<SampleSize, Sample>>>> = {
  "qwen3.5-vl": qwen3_5VlSample,
  "qwen3.5-vl-moe": qwen3_5VlMoeSample,
  "qwen3-moe": qwen3MoeSample,
  "qwen3-vl-moe": qwen3VlMoeSample,
  llava: llavaSample,
  whisper: whisperSample,
  "deepseek-v3-fp8": deepseekV3Fp8
}
