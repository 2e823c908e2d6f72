/** Every family, in one list. The only file outside routes/ that knows it is the command line's and the library's entry. */
import { FamilyRegistry } from "../src/bridge/FamilyRegistry.ts"
import { exaone4 } from "./exaone4.ts"
import { gemma, gemma2, gemma3 } from "./gemma.ts"
import { llama } from "./llama.ts"
import { mimo } from "./mimo.ts"
import { mistral } from "./mistral.ts"
import { nemotron } from "./nemotron.ts"
import { qwen2 } from "./qwen2.ts"
import { qwen3 } from "./qwen3.ts"
import { qwen3Moe } from "./qwen3_moe.ts"
import { qwen3_5Text, qwen3_5TextMoe } from "./qwen3_5_text.ts"
import { qwen3_5TokenClassification, qwen3_5Vl, qwen3_5VlMoe } from "./qwen3_5_vl.ts"
import { qwen3Next } from "./qwen3_next.ts"
import { qwen2Moe } from "./qwen2_moe.ts"
import { mixtral } from "./mixtral.ts"
import { minimaxM2 } from "./minimax_m2.ts"
import { olmoe } from "./olmoe.ts"
import { glm4Moe } from "./glm4_moe.ts"
import { hyV3 } from "./hy_v3.ts"
import { exaoneMoe } from "./exaone_moe.ts"
import { bailingMoeV2 } from "./bailing_moe_v2.ts"
import { sarvamMoe } from "./sarvam_moe.ts"
import { gptOss } from "./gpt_oss.ts"

export const families = new FamilyRegistry([
  llama,
  mistral,
  qwen2,
  qwen3,
  mimo,
  gemma,
  gemma2,
  gemma3,
  nemotron,
  exaone4,
  qwen3Next,
  qwen3_5Text,
  qwen3_5TextMoe,
  qwen3_5TokenClassification,
  qwen3_5Vl,
  qwen3_5VlMoe,
  qwen3Moe,
  qwen2Moe,
  mixtral,
  minimaxM2,
  olmoe,
  glm4Moe,
  hyV3,
  exaoneMoe,
  bailingMoeV2,
  sarvamMoe,
  gptOss
])
