/**
 * Colours of a light and a dark page. Text has a contrast of 4.5 or more on both grounds. Components have hues (`h`), dtypes tones
 * of one grey-green with a pattern of their own (`d`), parts of a layer shades of their component (`p`), sources of a mapping hues (`s`).
 */
export const COLOURS = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#57606a;--line:#d5dae0;--panel:#f5f7f9;--accent:#0b57d0;--good:#146c2e;--bad:#b3261e;--warn:#8a5300;
--c0:#2f6fbf;--c1:#c2571a;--c2:#2a8a57;--c3:#a83f8f;--c4:#7a6a00;--c5:#5b52c4;--c6:#00808a;--c7:#6b7480;--t:#2c4a3e}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e6e9ed;--soft:#a3adb8;--line:#363d46;--panel:#1d2127;--accent:#8ab4f8;--good:#6dd58c;--bad:#f2b8b5;--warn:#f6c667;
--c0:#6fa8ec;--c1:#f0935a;--c2:#62c48f;--c3:#df8acb;--c4:#cdb94a;--c5:#a9a2f5;--c6:#4cc4cf;--c7:#98a2ae;--t:#b9d3c6}}
.h0,.s0{--c:var(--c0)}.h1,.s1{--c:var(--c1)}.h2,.s2{--c:var(--c2)}.h3,.s3{--c:var(--c3)}.h4,.s4{--c:var(--c4)}.h5,.s5{--c:var(--c5)}.h6{--c:var(--c6)}.h7{--c:var(--c7)}.empty{--c:var(--panel)}
.d0{--c:var(--t)}.d1{--c:color-mix(in srgb,var(--t) 72%,var(--bg))}.d2{--c:color-mix(in srgb,var(--t) 52%,var(--bg))}.d3{--c:color-mix(in srgb,var(--t) 38%,var(--bg))}.d4{--c:color-mix(in srgb,var(--t) 26%,var(--bg))}.d5{--c:color-mix(in srgb,var(--t) 16%,var(--bg))}
`
