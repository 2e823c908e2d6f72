/** The package `ws`, loaded where it is used: an optional peer. */
import { LaunchError } from "../errors.ts"

export const loadWs = async (): Promise<typeof import("ws")> => {
  try {
    return await import("ws")
  } catch {
    throw new LaunchError({ code: "launch/no-ws", problem: "the package ws is not installed, through which weights are streamed and processes of a job speak", hint: "npm install ws. Processes of a job can do without it: --rendezvous file." })
  }
}
