/** Time of the processor, not of the clock: other programs on the machine, and other tests, hardly change it. */

/** CPU milliseconds that `work` takes in this process. */
export const cpuMs = (work: () => unknown): number => {
  const since = process.cpuUsage()
  work()
  return milliseconds(since)
}

/** The same of work that ends with a promise; other work of the process counts as well. */
export const cpuMsUntil = async (work: () => Promise<unknown>): Promise<number> => {
  const since = process.cpuUsage()
  await work()
  return milliseconds(since)
}

const milliseconds = (since: NodeJS.CpuUsage): number => {
  const { system, user } = process.cpuUsage(since)
  return (user + system) / 1000
}
