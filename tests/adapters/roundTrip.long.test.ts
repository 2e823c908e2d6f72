/** Adapters of every family with a test model, there and back. */
import { testRoundTrips } from "./roundTrip.ts"

testRoundTrips(1)
