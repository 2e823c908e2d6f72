/** A thread of {@link Hands}: answers one question after the other. */
import { parentPort, workerData } from "node:worker_threads"
import { memoryOf } from "../tensor/kernels/Memory.ts"
import { type Answer, type Order, type Orders, perform, type Question, type ThreadData } from "./orders.ts"

const { memory: wasm, tables, ...room } = workerData as ThreadData
const memory = memoryOf(wasm, tables)

const all = <O extends Order>(order: O, items: ReadonlyArray<Orders[O][0]>): ReadonlyArray<Orders[O][1]> =>
  items.map((item) => perform[order](memory, item, room))

const answer = ({ items, order }: Question): Answer => {
  try {
    return { results: all(order, items) }
  } catch (error) {
    return { error }
  }
}

parentPort!.on("message", (question: Question) => parentPort!.postMessage(answer(question)))
parentPort!.postMessage("ready")
