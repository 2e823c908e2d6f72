/**
 * Flags and arguments that name files: shells complete them. The library's own give absolute paths; messages and reports here
 * say them as the user did, and what is there is looked at by the command.
 */
import { Effect } from "effect"
import { type Argument, type Flag, Param, Primitive } from "effect/cli"

type PathType = "file" | "directory" | "either"

const asGiven = (type: PathType): Primitive.Primitive<string> =>
  Object.assign(Primitive.Path(type), { parse: (value: string) => Effect.succeed(value) })

export const pathFlag = (name: string, type: PathType): Flag.Flag<string> =>
  Param.makeSingle({ name, kind: Param.flagKind, primitiveType: asGiven(type) })

export const pathArgument = (name: string, type: PathType): Argument.Argument<string> =>
  Param.makeSingle({ name, kind: Param.argumentKind, primitiveType: asGiven(type) })
