import { Runtime } from "effect"

/** Milliseconds that whatever is still open (a connection, a thread) may keep a command that has ended. */
const GRACE = 2000

/**
 * Run the command line's Effect until it ends or a signal interrupts it.
 *
 * The process ends by itself, as nothing is left to do: `process.exit` joins V8's compiler threads, and one of them that waits for a
 * garbage collection, which is the main thread's to do, waits for ever (nodejs/node issue 54918; seen once in ten failed imports on
 * a busy machine). `process.exit` is only for what does not end by itself.
 */
export const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  let interrupted = false
  const interrupt = (): void => {
    interrupted = true
    fiber.interruptUnsafe(fiber.id)
  }
  process.on("SIGINT", interrupt)
  process.on("SIGTERM", interrupt)
  fiber.addObserver((exit) => {
    process.removeListener("SIGINT", interrupt)
    process.removeListener("SIGTERM", interrupt)
    teardown(exit, (code) => {
      if (code === 0 && !interrupted) return
      process.exitCode = code
      setTimeout(() => process.exit(), GRACE).unref()
    })
  })
})
