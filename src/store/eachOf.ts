/** Questions to a store that wait for each other only where they must: each costs its way there and back. */

const AT_ONCE = 16

/**
 * `use` every item, some at a time; the results in the order of the items. After a failure nothing more is begun; rejects once all that
 * were begun have ended, with the failure of the first item that has one.
 */
export const eachOf = async <A, B>(items: Iterable<A>, use: (item: A) => Promise<B>): Promise<ReadonlyArray<B>> => {
  const rest = [...items].entries()
  const results: Array<B> = []
  const failures: Array<{ readonly error: unknown; readonly at: number }> = []
  const worker = async (): Promise<void> => {
    for (let next = rest.next(); !next.done && failures.length === 0; next = rest.next()) {
      const [at, item] = next.value
      try {
        results[at] = await use(item)
      } catch (error) {
        failures.push({ error, at })
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  const [first] = failures.sort((a, b) => a.at - b.at)
  if (first !== undefined) throw first.error
  return results
}
