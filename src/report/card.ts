/** The verification card: what was converted or compared, as YAML for machines. */
import { stringify } from "yaml"
import { cleaned } from "../quote.ts"
import type { Fate, Page } from "./PageData.ts"

export interface CardHash {
  readonly path: string
  readonly bytes: number
  readonly sha256: string
}

export interface CardExtras {
  readonly node: string
  /** Of files that identify the checkpoints: indexes, configurations, lists of checksums. */
  readonly hashes: ReadonlyArray<CardHash>
}

const FORMAT = 1
const MOST_NAMES = 1000

/** The card of a page. Pure; keys stand in a fixed order. */
export const verificationCard = (page: Page, extras: CardExtras): string => {
  const { conversion, coverage, subjects, verify } = page
  const fates = (f: Fate) => coverage!.rows.filter((r) => r.fate === f)
  const off = verify?.tensors.filter((t) => t.status !== "equal") ?? []
  const named = subjects.find((s) => s.model.name !== undefined)
  const card = {
    verification_card: FORMAT,
    command: page.command,
    ...(page.made === undefined ? {} : { date: page.made }),
    versions: { "megatron-mimo-bridge": page.version, node: extras.node },
    model: {
      architecture: conversion?.architecture ?? named?.model.name ?? null,
      ...(conversion ? { family: conversion.family, form: conversion.form } : {})
    },
    ...(page.seconds === undefined ? {} : { timings: { seconds: Number(page.seconds.toFixed(3)) } }),
    ...(verify ? {
      parity: {
        verdict: verify.equal === verify.total ? "equal" : "different",
        left: verify.left,
        right: verify.right,
        equal: verify.equal,
        total: verify.total,
        bytes: verify.bytes,
        not_equal: off.slice(0, MOST_NAMES).map((t) => ({ tensor: t.name, status: t.status, ...(t.detail === undefined ? {} : { detail: t.detail }), ...(t.differing === undefined ? {} : { differing: t.differing }) }))
      }
    } : {}),
    ...(conversion ? {
      conversion: {
        direction: conversion.direction,
        source: { path: conversion.source, tensors: conversion.sourceTensors, bytes: conversion.sourceBytes },
        target: { tensors: conversion.targetTensors, bytes: conversion.targetBytes, files: conversion.files.length },
        dtype_changes: conversion.dtypeChanges.length,
        values_rounded: conversion.dtypeChanges.reduce((n, c) => n + (c.changedElements ?? 0), 0),
        left_behind: conversion.leftBehind.map(({ bytes, reason, tensor }) => ({ tensor, bytes, reason })),
        notes: conversion.notes
      }
    } : {}),
    ...(coverage ? {
      coverage: {
        source_tensors: coverage.rows.length,
        ...Object.fromEntries((["converted", "kept", "left", "missing", "unmapped"] as const).map((f) => [f, fates(f).length])),
        unclaimed: coverage.unclaimed.length,
        not_accounted_for: [...fates("missing"), ...fates("unmapped")].slice(0, MOST_NAMES).map((r) => r.name)
      }
    } : {}),
    checkpoints: subjects.map((i) => ({
      path: i.path,
      kind: i.kind,
      ...(i.form ? { form: i.form } : {}),
      tensors: i.totals.tensors,
      elements: i.totals.elements,
      bytes: i.totals.bytes,
      chunks: i.totals.chunks,
      files: i.totals.files,
      file_bytes: i.totals.fileBytes,
      dtypes: Object.fromEntries(i.dtypes.map((d) => [d.dtype, d.tensors])),
      findings: i.findings.map((f) => f.code)
    })),
    hashes: extras.hashes
  }
  return stringify(cleaned(card), { lineWidth: 0 })
}
