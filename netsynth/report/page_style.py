"""Style and script of report.html, which stands alone and needs no network."""

CSS = """
:root { color-scheme: light dark; --paper:#f6f7f8; --card:#ffffff; --ink:#1c2024; --soft:#4b535c;
  --rule:#c9ced4; --accent:#0b5cad; --good:#1a6b34; --fair:#8a5300; --poor:#b3261e;
  --good-bg:#e3f3e7; --fair-bg:#fdf0d9; --poor-bg:#fbe4e2; --none-bg:#eceef0;
  --line-0:#1b5e9e; --line-1:#c2410c; --line-2:#3f7d20; --line-3:#8b3fa0; --line-4:#7a6a00; }
@media (prefers-color-scheme: dark) { :root { --paper:#14171a; --card:#1d2125; --ink:#e8eaed;
  --soft:#b3bac2; --rule:#434a52; --accent:#7ab8ff; --good:#7fd79a; --fair:#f2bf69; --poor:#ff9c94;
  --good-bg:#173322; --fair-bg:#3a2c10; --poor-bg:#421f1c; --none-bg:#2a2f35;
  --line-0:#6fb1f0; --line-1:#ff9d5c; --line-2:#9bd97a; --line-3:#d79bea; --line-4:#e0cc52; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--paper); color:var(--ink);
  font:15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main, header, nav { max-width:1180px; margin:0 auto; padding:0 20px; }
header { padding-top:26px; }
h1 { font-size:1.6rem; margin:0 0 4px; } h2 { font-size:1.2rem; margin:34px 0 8px; }
h3 { font-size:1rem; margin:20px 0 6px; }
p { margin:6px 0; max-width:76ch; } .soft { color:var(--soft); }
a { color:var(--accent); } :focus-visible { outline:3px solid var(--accent); outline-offset:2px; }
.skip { position:absolute; left:-999px; } .skip:focus { left:12px; top:8px; background:var(--card);
  padding:6px 10px; z-index:9; }
nav ul { list-style:none; display:flex; flex-wrap:wrap; gap:4px 14px; padding:0; margin:10px 0; }
.wide { overflow-x:auto; border:1px solid var(--rule); border-radius:8px; background:var(--card); }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums; }
caption { text-align:left; padding:8px 12px; color:var(--soft); }
th, td { padding:5px 12px; text-align:left; vertical-align:top;
  border-top:1px solid var(--rule); }
thead th { border-top:0; white-space:nowrap; } thead td { border-top:0; }
td.what { min-width:15rem; } th[colspan] { text-align:center; }
td.n, th.n { text-align:right; white-space:nowrap; }
tbody th { font-weight:600; white-space:nowrap; position:sticky; left:0;
  background:var(--card); }
th button { all:unset; cursor:pointer; }
th button:focus-visible { outline:3px solid var(--accent); }
.charts + .charts { margin-top:0; }
th[aria-sort=ascending] button::after { content:" \\25B2"; font-size:.7em; }
th[aria-sort=descending] button::after { content:" \\25BC"; font-size:.7em; }
.grade { display:inline-block; border-radius:999px; padding:1px 10px; font-weight:600;
  white-space:nowrap; }
.good { color:var(--good); background:var(--good-bg); }
.fair { color:var(--fair); background:var(--fair-bg); }
.poor { color:var(--poor); background:var(--poor-bg); }
.unknown, .floor { color:var(--soft); background:var(--none-bg); }
.lead { font-weight:600; max-width:none; }
.over { color:var(--poor); font-weight:600; }
.charts { display:grid; grid-template-columns:repeat(auto-fill,minmax(330px,1fr)); gap:14px;
  margin:12px 0; }
.charts.broad { grid-template-columns:1fr; }
figure { margin:0; background:var(--card); border:1px solid var(--rule); border-radius:8px;
  padding:8px; } figure svg { width:100%; height:auto; display:block; }
figure button { font:inherit; font-size:.8rem; color:var(--accent); background:none; border:0;
  cursor:pointer; padding:2px 4px; }
.notes { border-left:4px solid var(--fair); padding:2px 12px; background:var(--card); }
.notes p { max-width:none; }
footer { max-width:1180px; margin:40px auto 20px; padding:0 20px; color:var(--soft);
  font-size:.9rem; }
@media print { body { background:#fff; font-size:10.5pt; }
  nav, .skip, figure button { display:none; }
  .wide { overflow:visible; border:0; } figure, tr { break-inside:avoid; }
  h2, h3 { break-after:avoid; } .charts { grid-template-columns:1fr 1fr 1fr; }
  td, th { padding:3px 6px; }
  :root { --paper:#fff; --card:#fff; --ink:#000; --soft:#333; --rule:#bbb; --good:#1a6b34;
  --fair:#8a5300; --poor:#b3261e; --good-bg:#e3f3e7; --fair-bg:#fdf0d9; --poor-bg:#fbe4e2;
  --none-bg:#eee; --line-0:#1b5e9e; --line-1:#c2410c; --line-2:#3f7d20; --line-3:#8b3fa0;
  --line-4:#7a6a00; } }
"""

SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, row = head.parentElement;
    const body = head.closest("table").tBodies[0], column = [...row.children].indexOf(head);
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of row.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = tr => { const cell = tr.children[column], v = cell.dataset.v;
      return v === undefined ? cell.textContent.trim() : v === "" ? null : Number(v); };
    const rows = [...body.rows].map((tr, i) => [key(tr), i, tr]);
    rows.sort(([a, i], [b, j]) => a === null || b === null ? (a === null) - (b === null) || i - j
      : (typeof a === "number" ? a - b : String(a).localeCompare(b)) * (up ? 1 : -1) || i - j);
    body.append(...rows.map(r => r[2]));
  });
}
for (const figure of document.querySelectorAll("figure")) {
  const button = document.createElement("button");
  button.type = "button"; button.textContent = "Save as SVG";
  button.setAttribute("aria-label", "Save as SVG: " + figure.dataset.name);
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([figure.querySelector("svg").outerHTML],
      {type: "image/svg+xml"}));
    link.download = figure.dataset.name + ".svg"; link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  figure.append(button);
}
"""
