import { Console, Effect } from "effect"
import { Disk, openSafetensors } from "megatron-mimo-bridge/safetensors/effect"

const program = openSafetensors("no-such-model").pipe(
  Effect.flatMap(({ tensorBytes, tensors }) => Console.log(`${tensors.size} tensors, ${tensorBytes} bytes`)),
  // The type of the error is InvalidFile | IoError | NoSpace.
  Effect.catchTag("InvalidFile", (error) => Console.log(error.code))
)
await Effect.runPromise(program.pipe(Effect.provide(Disk.layer)))
