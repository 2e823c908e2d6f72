import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    // Some tests start whole processes; on a busy machine that takes seconds.
    testTimeout: 120_000,
    hookTimeout: 120_000
  }
})
