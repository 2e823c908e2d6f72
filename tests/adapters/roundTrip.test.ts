/** Adapters there and back, for every seventeenth test model; `roundTrip.long.test.ts` takes all. */
import { testRoundTrips } from "./roundTrip.ts"

testRoundTrips(17)
