/** The page, its sections, tables, forms and lists. */
export const LAYOUT = `
*{box-sizing:border-box}
html{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;-webkit-text-size-adjust:100%;scrollbar-gutter:stable}
body{margin:0;background:var(--bg);color:var(--fg);font-variant-numeric:tabular-nums}
main,header,footer{max-width:1900px;margin:0 auto;padding:0 24px}
header{padding-top:20px}footer{padding-top:24px;padding-bottom:40px;color:var(--soft)}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 2px;overflow-wrap:anywhere;font-weight:650}
h2{font-size:1.25rem;margin:28px 0 8px;padding-top:12px;border-top:1px solid var(--line);font-weight:650;overflow-wrap:anywhere}
h3{font-size:1rem;margin:22px 0 8px;font-weight:650;overflow-wrap:anywhere}summary h3{display:inline;margin:0}
header+main h2:first-child{margin-top:12px}
p{margin:6px 0;overflow-wrap:anywhere}main>section>p,.maps p{max-width:110ch}
a{color:var(--accent)}.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
code{font:.9em/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
abbr{text-decoration:none}
nav ul,.legend,.cards{list-style:none;margin:8px 0;padding:0;display:flex;flex-wrap:wrap;gap:6px 18px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:10px}
.cards li{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:8px 14px}
.cards b{display:block;font-size:1.25rem;font-weight:620;line-height:1.3}.cards span{color:var(--soft);font-size:.87rem}
.verdict{font-size:1.08rem;font-weight:620;margin:6px 0}
.narrow{max-width:640px}.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:0 28px}.pair>div{min-width:0}
.beside-detail{display:grid;grid-template-columns:minmax(0,1fr);gap:10px;align-items:start}.beside-detail>*{min-width:0}
@media (min-width:1000px){.beside-detail{grid-template-columns:minmax(0,1fr) minmax(320px,27%)}.beside-detail>.detail{position:sticky;top:8px}
#coverage-list>.beside-detail{grid-template-columns:minmax(0,1fr) minmax(420px,38%)}
.maps.several .beside-detail{grid-template-columns:minmax(0,1fr)}.maps.several .beside-detail>.detail{position:static}}
.maps{display:grid;grid-template-columns:minmax(0,1fr);gap:0 28px}.maps>div{min-width:0}.maps h3{margin:8px 0 0}
@media (min-width:900px){.maps.several{grid-template-columns:repeat(2,minmax(0,1fr))}}
.scroll{position:relative;overflow-x:auto;border:1px solid var(--line);border-radius:8px;margin:8px 0}
table{border-collapse:collapse;width:100%}
th,td{padding:5px 12px;text-align:left;vertical-align:top;border-top:1px solid var(--line);font-weight:400}
thead th{border-top:0;color:var(--soft);font-size:.87rem;white-space:nowrap;background:var(--panel)}
.n{text-align:right;white-space:nowrap}tbody th code{display:inline-block;min-width:11em}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;margin:8px 0}dt{color:var(--soft);overflow-wrap:anywhere}dd{margin:0;overflow-wrap:anywhere}
.facts{grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:8px 18px}.facts dt{font-size:.87rem}.facts>div,.terms dl>div{min-width:0}
.terms dl{grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:4px 24px;font-size:.9rem}.terms dl>div{display:grid;grid-template-columns:6.4em minmax(0,1fr);gap:10px}.terms dt{color:var(--fg);font-weight:620;overflow-wrap:anywhere}.terms dd{color:var(--soft)}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.detail{min-height:9.5em;max-height:560px;overflow:auto;background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:8px 14px;font-size:.9rem;margin:8px 0;overflow-wrap:anywhere}
.detail ul{margin:4px 0;padding-left:1.1em}.detail .what{font-weight:620}
#tip{position:fixed;z-index:9;left:0;top:0;max-width:min(30rem,92vw);background:var(--fg);color:var(--bg);padding:4px 10px;border-radius:6px;font-size:.87rem;pointer-events:none;overflow-wrap:anywhere}
form{display:flex;flex-wrap:wrap;gap:8px 14px;align-items:end;margin:10px 0}
label{font-size:.87rem;color:var(--soft);display:grid;gap:2px;max-width:100%;grid-template-columns:minmax(0,auto)}
input,select,button{font:inherit;color:var(--fg);background:var(--bg);border:1px solid var(--soft);border-radius:6px;padding:5px 8px;max-width:100%;min-height:36px}
input{width:min(22rem,calc(100vw - 40px))}
output{min-height:36px;padding:6px 0}
.list{height:560px;overflow:auto;border:1px solid var(--line);border-radius:8px;position:relative;contain:strict;font-size:.9rem;margin:8px 0}.list>div{position:relative;min-width:100%}
.line{position:absolute;left:0;right:0;display:grid;align-items:center;gap:0 14px;padding:0 12px;white-space:pre;border-bottom:1px solid var(--line);cursor:default}.line .end{direction:rtl;text-align:left}
.line span{overflow:hidden;text-overflow:ellipsis}.line .n{text-align:right}.line .fold{font-weight:620}
.heads{position:sticky;top:0;height:26px;display:grid;align-items:center;gap:14px;padding:0 12px;background:var(--panel);color:var(--soft);font-size:1em;z-index:1;white-space:nowrap;border-bottom:1px solid var(--line)}.heads .n{text-align:right}
.line[aria-selected=true]{background:var(--panel);box-shadow:inset 3px 0 var(--accent)}
summary{cursor:pointer;padding:4px 0;overflow-wrap:anywhere}details{margin:4px 0}.paper{display:none}
`
