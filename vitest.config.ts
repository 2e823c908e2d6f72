import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"

const source = (path: string): string => new URL(path, import.meta.url).pathname

export default defineConfig({
  // The package by its own name, as its users import it, is the source.
  resolve: {
    alias: [
      { find: /^megatron-mimo-bridge$/, replacement: source("src/index.ts") },
      { find: /^megatron-mimo-bridge\/family$/, replacement: source("routes/toolkit.ts") },
      { find: /^megatron-mimo-bridge\/safetensors$/, replacement: source("src/safetensors/index.ts") },
      { find: /^megatron-mimo-bridge\/safetensors\/(node|effect)$/, replacement: source("src/safetensors/$1.ts") }
    ]
  },
  test: {
    // One module graph for many files: a third less time. Nothing here changes a module's state.
    isolate: false,
    // One more than there are cores: conversions wait for the disk.
    maxWorkers: availableParallelism() + 1,
    // No test asks a network; those of the Hub have one of their own.
    env: { HF_HUB_OFFLINE: "1" },
    globalSetup: ["tests/bundle.ts"],
    setupFiles: ["tests/equality.ts"],
    include: ["tests/**/*.test.ts"],
    // Some tests start whole processes; on a busy machine that takes seconds.
    testTimeout: 120_000,
    hookTimeout: 120_000
  }
})
