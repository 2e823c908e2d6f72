/**
 * The page's script, plain and inline: reads the packed data (../model/pack.ts), draws long lists a screenful at a time, and shows
 * what has the pointer or the focus. It writes text nodes and shapes only, never markup from data. Without it all sums, drawings
 * and folded tables are there.
 */
import { BASE } from "./base.ts"
import { LISTS } from "./lists.ts"
import { PICTURES } from "./pictures.ts"
import { RANKS } from "./ranks.ts"
import { TIPS } from "./tips.ts"
import { WIRES } from "./wires.ts"

export const SCRIPT = `\n(() => {\n"use strict"\n${[BASE, TIPS, RANKS, PICTURES, LISTS, WIRES].join("\n")}\n})()\n`
