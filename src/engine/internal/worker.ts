/** A thread of {@link Workers}: answers one question after the other. */
import { parentPort, workerData } from "node:worker_threads"
import { memoryOf } from "../../tensor/kernels/Memory.ts"
import { type Answer, type TaskKind, type Tasks, perform, type Question, type WorkerData } from "./workerTasks.ts"

const { memory: wasm, tables, ...room } = workerData as WorkerData
const memory = memoryOf(wasm, tables)

const all = <O extends TaskKind>(order: O, items: ReadonlyArray<Tasks[O][0]>): ReadonlyArray<Tasks[O][1]> =>
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
