/** Every family, in one list. The only file outside routes/ that knows it is the command line's and the library's entry. */
import { FamilyRegistry } from "../src/bridge/FamilyRegistry.ts"
import { qwen3_5Vl, qwen3_5VlMoe } from "./qwen3_5_vl.ts"

export const families = new FamilyRegistry([qwen3_5Vl, qwen3_5VlMoe])
