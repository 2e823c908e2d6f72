/** Every mapping kind. */
export * from "./kinds.ts"
export * from "./kinds/elementary.ts"
export * from "./kinds/experts.ts"
export * from "./kinds/gatedDeltaNet.ts"
