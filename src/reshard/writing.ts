/** A new iteration of a checkpoint that is planned, written: data files made or taken over, small files beside them, atomically, resumable. */
import { Effect } from "effect"
import { basename } from "node:path"
import type { StorageSums } from "../checkpoint/StorageSums.ts"
import type { SideFile } from "../convert/filesBelow.ts"
import { produce, type RunOptions } from "../convert/produce.ts"
import { forecastOf, placeUnchanged, sizeOf, type UnchangedFiles, unlinkedNotes } from "../convert/unchanged.ts"
import { type TargetFile, wholeFile } from "../engine/index.ts"
import type { JobError } from "../errors.ts"
import { uninterruptibly } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { commit } from "../publish/commit.ts"
import { type Ingredient, known, linkedFile, sourceFile } from "../publish/journal/Fingerprint.ts"
import type { Publication } from "../publish/Publication.ts"
import type { SourceState } from "../publish/sources.ts"

/** What of a report the run itself decides. */
export interface Written {
  readonly linked: number
  readonly cloned: number
  readonly writtenBytes: number
  readonly notes: ReadonlyArray<string>
}

export interface Writing<R extends Written> {
  /** Of the source. */
  readonly directory: string
  /** The iteration's folder, and the folders in it. */
  readonly folder: string
  readonly folders: ReadonlyArray<string>
  readonly files: ReadonlyArray<TargetFile>
  /** Data files of the source that stay, under their new names. */
  readonly kept: ReadonlyArray<SideFile>
  /** Other files that are copied. */
  readonly beside: ReadonlyArray<SideFile>
  /** Small files with new content. */
  readonly changed: ReadonlyMap<string, Uint8Array>
  readonly trackers: ReadonlyArray<readonly [name: string, bytes: Uint8Array]>
  /** The data files that are read. */
  readonly dataStates: ReadonlyArray<SourceState>
  /** Directories that are read, too. */
  readonly read?: ReadonlyArray<string>
  readonly sums: () => StorageSums
  readonly ingredients: ReadonlyArray<Ingredient>
  readonly report: R
}

export interface WritingRun extends RunOptions {
  /** Hard links instead of copies of unchanged files, where the file system can. */
  readonly link: boolean
}

export const writing = <R extends Written>(w: Writing<R>) => {
  const { beside, kept, report } = w
  const unchanged: UnchangedFiles = { directory: w.directory, files: kept, others: sizeOf(w.files) + sizeOf(beside) }
  const forecast = (target: string, link: boolean) => Effect.flatMap(Disk, (disk) => forecastOf(disk, unchanged, target, link))
  const run = (target: string, { link, ...runOptions }: WritingRun): Effect.Effect<R, JobError, Disk> =>
    Effect.gen(function*() {
      const disk = yield* Disk
      const expected = yield* forecast(target, link)
      const outcome = { linked: 0, cloned: 0, writtenBytes: report.writtenBytes }
      const copied = [...kept, ...beside].filter((f) => f.size > 0)
      const place = Effect.fnUntraced(function*(publication: Publication) {
        yield* uninterruptibly(async () => { for (const name of w.folders) await publication.recorder.makeDirectory(name) })
        const { cloned, left, linked } = yield* placeUnchanged(disk, publication, unchanged, { expected, link })
        const linkedPaths = new Set(kept.filter((f) => linked.has(f.name)).map((f) => f.path))
        Object.assign(outcome, { linked: linked.size, cloned: cloned.size, writtenBytes: unchanged.others + sizeOf(left) })
        runOptions.progress?.(sizeOf(kept.filter((f) => cloned.has(f.name))))
        return {
          files: [...copied.filter((f) => !linked.has(f.name) && !cloned.has(f.name)).map(wholeFile), ...w.files],
          states: [...w.dataStates.filter((s) => !linkedPaths.has(s.path)), ...beside]
        }
      })
      return yield* produce<R>(target, runOptions, {
        files: [...copied.map(wholeFile), ...w.files],
        states: [...w.dataStates, ...beside],
        sums: w.sums(),
        place,
        folder: w.folder,
        iteration: w.folder,
        ingredients: [
          ...w.ingredients,
          known("links", String(link)),
          ...[...w.changed].map(([name, content]) => known(`the new ${name}`, content)),
          ...w.dataStates.map((s, i) => (link ? linkedFile : sourceFile)(`${i}: ${basename(s.path)}`, s)),
          ...beside.map((f) => sourceFile(f.name, f))
        ],
        sources: [w.directory, ...w.read ?? []],
        size: expected.bytes,
        report: () => ({ ...report, ...outcome, notes: [...report.notes, ...unlinkedNotes(link, kept.length, outcome.linked, outcome.cloned)] }),
        checksum: (runOptions.checksum ?? true) && kept.length === 0
      }, Effect.fnUntraced(function*(publication) {
        yield* uninterruptibly(async () => {
          for (const f of beside) if (f.size === 0) await publication.recorder.write(f.name, new Uint8Array(0))
          for (const [name, content] of w.changed) await publication.recorder.write(name, content)
        })
        yield* commit(publication, { trackers: w.trackers })
      }))
    })
  return { forecast, run }
}
