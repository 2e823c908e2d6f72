/** The page's style sheet: light, dark and paper; system fonts; no layout that depends on a script. */
import { COLOURS } from "./colours.ts"
import { FIGURES } from "./figures.ts"
import { LAYOUT } from "./layout.ts"
import { NARROW, PAPER } from "./media.ts"

export const STYLE = [COLOURS, LAYOUT, FIGURES, NARROW, PAPER].join("")
