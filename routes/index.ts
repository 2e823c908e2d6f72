/** Every family, in one list. The only file outside routes/ that knows it is the command line's and the library's entry. */
import { FamilyRegistry } from "../src/bridge/FamilyRegistry.ts"
import { withPositionNotes } from "./shared/positionNotes.ts"
import { withTieRule } from "./shared/tie.ts"
import { qwen2AudioEncoder, qwen2_5AudioEncoder, qwen3AudioEncoder, whisper } from "./audio_encoders.ts"
import { exaone4 } from "./exaone4.ts"
import { gemma, gemma2, gemma3 } from "./gemma.ts"
import { gemma4, gemma4Multimodal } from "./gemma4.ts"
import { llamaNemotron } from "./llama_nemotron.ts"
import { llama } from "./llama.ts"
import { llada } from "./llada.ts"
import { llava, llavaOnevision } from "./llava.ts"
import { nemotronLabsDiffusion } from "./nemotron_labs_diffusion.ts"
import { mimo } from "./mimo.ts"
import { mistral } from "./mistral.ts"
import { nemotron } from "./nemotron.ts"
import { qwen2 } from "./qwen2.ts"
import { qwen3 } from "./qwen3.ts"
import { qwen3Moe } from "./qwen3_moe.ts"
import { qwen3_5Text, qwen3_5TextMoe } from "./qwen3_5_text.ts"
import { qwen3_5TokenClassification, qwen3_5Vl, qwen3_5VlMoe } from "./qwen3_5_vl.ts"
import { qwen3Next } from "./qwen3_next.ts"
import { exaone4_5 } from "./exaone4_5.ts"
import { gemma3Vl } from "./gemma3_vl.ts"
import { internVl, internVlChat } from "./internvl.ts"
import { glm4v, glm4vMoe } from "./glm4v.ts"
import { minimaxM3 } from "./minimax_m3.ts"
import { mistral3 } from "./mistral3.ts"
import { projector } from "./projector.ts"
import { qwen2Audio } from "./qwen2_audio.ts"
import { qwen2_5Omni } from "./qwen2_5_omni.ts"
import { qwen2_5Vl } from "./qwen2_5_vl.ts"
import { qwen3Asr } from "./qwen3_asr.ts"
import { qwen3Omni } from "./qwen3_omni.ts"
import { qwen3Vl, qwen3VlMoe } from "./qwen3_vl.ts"
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
import { solarOpen } from "./solar_open.ts"
import { ernie4_5Moe } from "./ernie4_5_moe.ts"
import { mimoV2Flash } from "./mimo_v2_flash.ts"
import { ernie4_5VlMoe } from "./ernie4_5_vl_moe.ts"
import { deepseekV2, deepseekV3 } from "./deepseek.ts"
import { kimiK2 } from "./kimi_k2.ts"
import { glm4MoeLite } from "./glm4_moe_lite.ts"
import { sarvamMla } from "./sarvam_mla.ts"
import { glmMoeDsa } from "./glm_moe_dsa.ts"
import { step3p5, step3p7 } from "./step3.ts"
import { bailingMoeV2_5 } from "./bailing_moe_v2_5.ts"
import { nemotronH } from "./nemotron_h.ts"
import { falconH1 } from "./falcon_h1.ts"
import { kimiK2_5 } from "./kimi_k2_5.ts"
import { kimiK3 } from "./kimi_k3.ts"
import { deepseekV4 } from "./deepseek_v4.ts"
import { clipVision, internVision, pixtralVision, qwen2_5Vision, qwen3Vision, radio, siglip2Vision, siglipVision } from "./vision_encoders.ts"
import { nemotronOmni, nemotronVl } from "./nemotron_multimodal.ts"
import { arcee } from "./arcee.ts"
import { cwm } from "./cwm.ts"
import { dots1 } from "./dots1.ts"
import { ernie4_5 } from "./ernie4_5.ts"
import { glm, glm4 } from "./glm.ts"
import { granite, graniteMoe } from "./granite.ts"
import { helium } from "./helium.ts"
import { hunYuanDense, hunYuanMoe } from "./hunyuan_v1.ts"
import { jais2 } from "./jais2.ts"
import { olmo2, olmo3 } from "./olmo2.ts"
import { qwen2Vl } from "./qwen2_vl.ts"
import { smolVlm } from "./smolvlm.ts"
import { phi3 } from "./phi3.ts"
import { seedOss } from "./seed_oss.ts"
import { smolLm3 } from "./smollm3.ts"
import { starcoder2 } from "./starcoder2.ts"

/** The built-in families. `families.with(…)` adds others. */
export const families = new FamilyRegistry([
  llama,
  llamaNemotron,
  llada,
  mistral,
  qwen2,
  qwen3,
  mimo,
  gemma,
  gemma2,
  gemma3,
  gemma4,
  gemma4Multimodal,
  nemotron,
  nemotronLabsDiffusion,
  exaone4,
  qwen3Next,
  qwen3_5Text,
  qwen3_5TextMoe,
  qwen3_5TokenClassification,
  qwen3_5Vl,
  qwen3_5VlMoe,
  qwen2_5Vl,
  qwen3Vl,
  qwen3VlMoe,
  gemma3Vl,
  internVlChat,
  internVl,
  glm4v,
  glm4vMoe,
  exaone4_5,
  mistral3,
  minimaxM3,
  llava,
  llavaOnevision,
  qwen2Audio,
  qwen2_5Omni,
  qwen3Omni,
  qwen3Asr,
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
  gptOss,
  solarOpen,
  ernie4_5Moe,
  mimoV2Flash,
  ernie4_5VlMoe,
  deepseekV2,
  deepseekV3,
  kimiK2,
  glm4MoeLite,
  sarvamMla,
  glmMoeDsa,
  step3p5,
  step3p7,
  bailingMoeV2_5,
  nemotronH,
  falconH1,
  kimiK2_5,
  kimiK3,
  deepseekV4,
  nemotronOmni,
  nemotronVl,
  phi3,
  smolLm3,
  starcoder2,
  helium,
  arcee,
  seedOss,
  ernie4_5,
  glm,
  glm4,
  cwm,
  jais2,
  olmo2,
  olmo3,
  dots1,
  hunYuanDense,
  hunYuanMoe,
  granite,
  graniteMoe,
  qwen2Vl,
  smolVlm,
  clipVision,
  siglipVision,
  siglip2Vision,
  internVision,
  pixtralVision,
  radio,
  qwen3Vision,
  qwen2_5Vision,
  whisper,
  qwen2AudioEncoder,
  qwen2_5AudioEncoder,
  qwen3AudioEncoder,
  projector
], [withTieRule, withPositionNotes])
