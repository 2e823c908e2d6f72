/** The report, not loaded before it is asked for: most commands never write a page, and start the faster. */
import { Effect } from "effect"

export const reportRoom = Effect.promise(async () => {
  const [{ cardOf, pageOf }, { renderPage }] = await Promise.all([import("../report/gather.ts"), import("../report/renderPage.ts")])
  return { cardOf, pageOf, renderPage }
})
