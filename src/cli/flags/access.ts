/** How a command is let in by an engine. */
import { Option } from "effect"
import { Flag } from "effect/cli"
import type { EngineSecret } from "../../api/rollout.ts"
import { pathFlag } from "../paths.ts"
import type { Values } from "./Values.ts"

export const engineSecret = {
  authFile: pathFlag("auth-file", "file").pipe(Flag.withMetavar("FILE"), Flag.withDescription("File with the token that engines ask for"), Flag.optional),
  authEnv: Flag.String("auth-env").pipe(Flag.withMetavar("NAME"), Flag.withDescription("Variable with the token that engines ask for"), Flag.optional)
}

export const secretOf = ({ authEnv, authFile }: Values<typeof engineSecret>): EngineSecret => ({
  ...(Option.isSome(authFile) ? { authFile: authFile.value } : {}),
  ...(Option.isSome(authEnv) ? { authVariable: authEnv.value } : {})
})
