/** The command line that tests start as a process. */

/**
 * The bundle that `tests/bundle.ts` made for this run of the suite; the sources where a program is started without it. A start from
 * the sources takes seven times as long.
 */
export const program: string = process.env["COMMAND_UNDER_TEST"] ?? new URL("../src/cli/bin.ts", import.meta.url).pathname
