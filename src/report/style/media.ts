/** Narrow screens: every row of a table is a block with the heads beside its cells. Paper: what needs a screen is gone. */
export const NARROW = `
@media (max-width:640px){main,header,footer{padding-left:12px;padding-right:12px}dl{grid-template-columns:1fr}dd{margin:0 0 6px}.cards{grid-template-columns:1fr 1fr}.cards b{font-size:1.1rem}
.facts{grid-template-columns:1fr 1fr}.sides{grid-template-columns:1fr}.terms dl{grid-template-columns:1fr}
.map thead th:first-child,.map tbody th{white-space:normal;max-width:34vw;min-width:28vw;padding:1px 6px}.map.roomy td,.map.roomy thead th{min-width:48px}
.rows thead{display:block;position:absolute;left:0;top:0;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}.rows,.rows tbody,.rows tr,.rows th,.rows td{display:block;border:0}
.rows tr{border-top:1px solid var(--line);padding:6px 0}.rows tr:first-child{border-top:0}.rows tbody th{padding:2px 10px;font-weight:620}
.rows td{display:grid;grid-template-columns:minmax(7em,42%) minmax(0,1fr);gap:10px;padding:1px 10px;text-align:left;white-space:normal;overflow-wrap:anywhere}.rows td::before{content:attr(data-head);color:var(--soft)}
.strip{min-width:0}.list,.detail{max-height:70vh}.list{height:420px}}
`
export const PAPER = `
@media print{:root{color-scheme:light;--bg:#fff;--fg:#000;--soft:#444;--line:#bbb;--panel:#f3f3f3;--accent:#0b57d0;--good:#146c2e;--bad:#b3261e;--warn:#8a5300;--c0:#2f6fbf;--c1:#c2571a;--c2:#2a8a57;--c3:#a83f8f;--c4:#7a6a00;--c5:#5b52c4;--c6:#00808a;--c7:#6b7480;--t:#2c4a3e}
html{font-size:10.5px}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}nav,.screen,.detail,#tip{display:none!important}.paper{display:block}.paper tbody th{width:45%}
.beside-detail{display:block!important}.scroll{overflow:visible;border:0}h2,h3{break-after:avoid}tr,svg,.cards li{break-inside:avoid}thead{display:table-header-group}main,header,footer{max-width:none;padding:0}}
`
