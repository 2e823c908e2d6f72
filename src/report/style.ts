/** The page's style sheet: light, dark and paper; system fonts; no layout that depends on a script. */
export const STYLE = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#57606a;--line:#d5dae0;--panel:#f5f7f9;--accent:#0b57d0;--good:#146c2e;--bad:#b3261e;--warn:#8a5300;
--c0:#2f6fbf;--c1:#c2571a;--c2:#2a8a57;--c3:#a83f8f;--c4:#7a6a00;--c5:#5b52c4;--c6:#00808a;--c7:#6b7480}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e6e9ed;--soft:#a3adb8;--line:#363d46;--panel:#1d2127;--accent:#8ab4f8;--good:#6dd58c;--bad:#f2b8b5;--warn:#f6c667;
--c0:#6fa8ec;--c1:#f0935a;--c2:#62c48f;--c3:#df8acb;--c4:#cdb94a;--c5:#a9a2f5;--c6:#4cc4cf;--c7:#98a2ae}}
*{box-sizing:border-box}
html{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;-webkit-text-size-adjust:100%;scrollbar-gutter:stable}
body{margin:0;background:var(--bg);color:var(--fg);font-variant-numeric:tabular-nums}
main,header,footer{max-width:1120px;margin:0 auto;padding:0 20px}
header{padding-top:28px}footer{padding-top:24px;padding-bottom:40px;color:var(--soft)}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere;font-weight:650}
h2{font-size:1.25rem;margin:40px 0 10px;padding-top:14px;border-top:1px solid var(--line);font-weight:650;overflow-wrap:anywhere}
h3{font-size:1rem;margin:26px 0 8px;font-weight:650;overflow-wrap:anywhere}
p{margin:6px 0;overflow-wrap:anywhere}
a{color:var(--accent)}.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
code{font:.9em/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
nav ul,.legend,.cards{list-style:none;margin:10px 0;padding:0;display:flex;flex-wrap:wrap;gap:6px 18px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:10px}
.cards li{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.cards b{display:block;font-size:1.3rem;font-weight:620;line-height:1.3}.cards span{color:var(--soft);font-size:.87rem}
.verdict{font-size:1.15rem;font-weight:620;margin:12px 0}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px;margin:8px 0}
table{border-collapse:collapse;width:100%}
th,td{padding:5px 12px;text-align:left;vertical-align:top;border-top:1px solid var(--line);font-weight:400}
thead th{border-top:0;color:var(--soft);font-size:.87rem;white-space:nowrap;background:var(--panel)}
.n{text-align:right;white-space:nowrap}tbody th code{display:inline-block;min-width:11em}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;margin:8px 0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.h0{--c:var(--c0)}.h1{--c:var(--c1)}.h2{--c:var(--c2)}.h3{--c:var(--c3)}.h4{--c:var(--c4)}.h5{--c:var(--c5)}.h6{--c:var(--c6)}.h7{--c:var(--c7)}
svg{display:block;width:100%;background:var(--panel);border-radius:4px}svg rect{fill:var(--c)}
.facts{grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:8px 18px}.facts dt{font-size:.87rem}
.bar{height:26px}.layers{height:72px;margin:4px 0;shape-rendering:crispEdges}.strip{height:18px;min-width:220px}
.legend{font-size:.9rem;gap:4px 18px}.legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;background:var(--c);margin-right:.45em}.legend span{color:var(--soft)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
rect:focus,rect:hover{stroke:var(--fg);stroke-width:2;vector-effect:non-scaling-stroke;outline:none}
.map{width:auto;min-width:50%}.map th,.map td{padding:0;border:0}
.map thead th{padding:4px 2px;text-align:center;min-width:22px;max-width:140px;overflow:hidden;text-overflow:ellipsis}
.map thead th:first-child,.map tbody th{position:sticky;left:0;background:var(--bg);padding:1px 10px;text-align:left;white-space:nowrap;font-size:.87rem;z-index:1}
.map thead th:first-child{background:var(--panel)}
.map td{height:20px;min-width:22px;border:1px solid var(--bg)}
.map td[data-cell]{background:color-mix(in srgb,var(--c) var(--w),var(--bg));border-radius:4px;cursor:default}
.map td:focus,.map td[data-cell]:hover{outline:2px solid var(--fg);outline-offset:-1px}
.map .first th,.map .first td{border-top:6px solid var(--bg)}
.detail{min-height:9.5em;max-height:19em;overflow:auto;background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:8px 14px;font-size:.9rem}
.detail ul{margin:4px 0;padding-left:1.1em}
#tip{position:fixed;z-index:9;left:0;top:0;max-width:min(30rem,92vw);background:var(--fg);color:var(--bg);padding:4px 10px;border-radius:6px;font-size:.87rem;pointer-events:none;overflow-wrap:anywhere}
form{display:flex;flex-wrap:wrap;gap:8px 14px;align-items:end;margin:10px 0}
label{font-size:.87rem;color:var(--soft);display:grid;gap:2px;max-width:100%}
input,select{font:inherit;color:var(--fg);background:var(--bg);border:1px solid var(--soft);border-radius:6px;padding:5px 8px;max-width:100%;min-height:36px}
label{grid-template-columns:minmax(0,auto)}input{width:min(22rem,calc(100vw - 28px))}
output{min-height:36px;padding:6px 0}
.list{height:420px;overflow:auto;border:1px solid var(--line);border-radius:8px;position:relative;contain:strict}
.list{font-size:.9rem}.list>div{position:relative;min-width:100%}
.line{position:absolute;left:0;right:0;height:26px;display:grid;align-items:center;gap:14px;padding:0 12px;white-space:nowrap;border-bottom:1px solid var(--line)}
.line span{overflow:hidden;text-overflow:ellipsis}.line .n{text-align:right}
.heads{position:sticky;top:0;height:26px;display:grid;align-items:center;gap:14px;padding:0 12px;background:var(--panel);color:var(--soft);font-size:1em;z-index:1;white-space:nowrap;border-bottom:1px solid var(--line)}.heads .n{text-align:right}
.line[aria-selected=true]{background:var(--panel);box-shadow:inset 3px 0 var(--accent)}
summary{cursor:pointer;padding:4px 0;overflow-wrap:anywhere}details{margin:4px 0}
.facts>div{min-width:0}.paper{display:none}
@media (max-width:520px){main,header,footer{padding-left:12px;padding-right:12px}dl{grid-template-columns:1fr}dd{margin:0 0 6px}th,td{padding:5px 8px}.cards{grid-template-columns:1fr 1fr}.cards b{font-size:1.1rem}
.map thead th:first-child,.map tbody th{white-space:normal;max-width:42vw;padding:1px 6px}}
@media print{:root{color-scheme:light;--bg:#fff;--fg:#000;--soft:#444;--line:#bbb;--panel:#f3f3f3;--c0:#2f6fbf;--c1:#c2571a;--c2:#2a8a57;--c3:#a83f8f;--c4:#7a6a00;--c5:#5b52c4;--c6:#00808a;--c7:#6b7480}
html{font-size:10.5px}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}nav,.screen,.detail,#tip{display:none!important}.paper{display:block}
.scroll{overflow:visible;border:0}h2,h3{break-after:avoid}tr,svg,.cards li{break-inside:avoid}thead{display:table-header-group}main,header,footer{max-width:none;padding:0}}
`
