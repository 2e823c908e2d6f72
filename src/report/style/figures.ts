/** Bars, strips, plots, maps and pictures. */
export const FIGURES = `
svg{display:block;width:100%;background:var(--panel);border-radius:4px}svg rect{fill:var(--c)}
.bar{height:26px}.strip{height:18px;min-width:220px}
.legend{font-size:.9rem;gap:4px 18px}.legend i.beside{background:repeating-linear-gradient(135deg,var(--c) 0 2px,var(--bg) 2px 4px)}.legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;background:var(--c);margin-right:.45em;border:1px solid var(--soft)}.legend span{color:var(--soft)}
rect:focus,rect[data-tip]:hover{stroke:var(--fg);stroke-width:2;vector-effect:non-scaling-stroke;outline:none}
.plot{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:10px;margin:8px 0}
.ticks{display:flex;flex-direction:column;justify-content:space-between;height:168px;color:var(--soft);font-size:.87rem;text-align:right;line-height:1}
.stacks{display:flex;flex-wrap:wrap;gap:8px 14px}.stack{min-width:64px}.stack svg{height:160px;margin-top:4px;border-radius:0;border-bottom:1px solid var(--soft)}.stack p{font-size:.87rem;margin:2px 0}
.stack g:focus,.stack g:hover{outline:none}.stack .ground{fill:transparent}.stack g:focus .ground,.stack g:hover .ground{fill:color-mix(in srgb,var(--fg) 14%,transparent)}
.shades{--c:var(--c7)}.p0{fill:var(--c);background:var(--c)!important}
.p1{fill:color-mix(in srgb,var(--c) 66%,var(--fg))!important;background:color-mix(in srgb,var(--c) 66%,var(--fg))!important}
.p2{fill:color-mix(in srgb,var(--c) 52%,var(--bg))!important;background:color-mix(in srgb,var(--c) 52%,var(--bg))!important}
.p3{fill:color-mix(in srgb,var(--c) 24%,var(--bg))!important;background:color-mix(in srgb,var(--c) 24%,var(--bg))!important}
.map{width:100%}.map th,.map td{padding:0;border:0}
.map thead th{padding:4px 2px;text-align:center;min-width:24px;max-width:160px;width:calc(99%/var(--n));overflow:hidden;text-overflow:ellipsis}
.map thead th[data-cell]:hover,.map thead th:focus{color:var(--fg);text-decoration:underline;outline-offset:-2px}
.map thead th:first-child,.map tbody th{position:sticky;left:0;background:var(--bg);padding:1px 10px;text-align:left;white-space:nowrap;font-size:.87rem;z-index:1;width:1%}
.map tbody th code{min-width:0}
.map thead th:first-child{background:var(--panel)}
.map td{height:22px;min-width:24px;border:1px solid var(--bg)}
.map.roomy td,.map.roomy thead th{min-width:56px}
.map .axis th,.map .weights th{color:var(--soft)}.map .axis td,.map .weights td{font-size:.82rem;color:var(--soft);text-align:center;height:18px;padding:0 2px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;max-width:110px}
.map .weights td{vertical-align:bottom;padding-bottom:2px}
.map .weights i,.gauge{display:block;height:4px;border-radius:2px;background:linear-gradient(to right,var(--fg) var(--w),var(--line) var(--w))}.gauge{width:90px;display:inline-block;vertical-align:middle}
.map td[data-cell],.map td[data-tip]{background:color-mix(in srgb,var(--c) var(--w),var(--bg));border-radius:4px;cursor:default;box-shadow:inset 0 0 0 1px color-mix(in srgb,var(--c) 70%,var(--bg))}
.map td.beside{background:repeating-linear-gradient(135deg,color-mix(in srgb,var(--c) 60%,var(--bg)) 0 3px,var(--bg) 3px 7px)}
.map td:focus,.map td[data-cell]:hover,.map .pinned{outline:2px solid var(--fg);outline-offset:-1px}
.map .first th,.map .first td{border-top:6px solid var(--bg)}
.picture svg{background:none;max-width:640px;margin:6px 0}.picture text{fill:var(--soft);font-size:13px}
.picture .plane{fill:var(--bg);stroke:var(--soft)}.picture .band{fill:color-mix(in srgb,var(--c) 78%,var(--bg));stroke:var(--bg);stroke-width:.5}.picture .band.odd{fill:color-mix(in srgb,var(--c) 56%,var(--bg))}
.picture .flow{fill:color-mix(in srgb,var(--c) 22%,transparent);stroke:none}.picture .lit{stroke:var(--fg);stroke-width:1.5}.picture .flow.lit{fill:color-mix(in srgb,var(--c) 55%,transparent)}
.picture .cut{fill:none;stroke:var(--fg);stroke-width:1;stroke-dasharray:4 3;pointer-events:none}
.sides{display:grid;grid-template-columns:1fr 1fr;gap:12px}.sides b{font-weight:620}.sides .legend{display:block;margin:2px 0}.sides p{margin:2px 0;color:var(--soft)}
.steps{display:flex;gap:10px;align-items:center;flex-wrap:wrap}
`
