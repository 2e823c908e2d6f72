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
import { qwen3_5Vl, qwen3_5VlMoe } from "./qwen3_5_vl.ts"

export const families = new FamilyRegistry([qwen3Moe, 
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
  qwen3_5Vl,
  qwen3_5VlMoe
])
