/** Flags that several commands share, and what they say. */
export * from "./layout.ts"
export * from "./model.ts"
export * from "./report.ts"
export * from "./running.ts"
export * from "./telling.ts"
export * from "./writing.ts"
