#include "report/html_page.h"

namespace upkeep::report {

const std::string_view kStyleSheet = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f5f1; --card: #ffffff; --ink: #1d2430; --soft: #5c6675; --faint: #8b94a1; --line: #e2e1db;
  --lane: #f1f0eb; --band: #fdf0cf; --band-line: #e0b64f; --fan: #faf3df;
  --good: #1d7a4c; --good-bg: #def3e6; --bad: #b3261e; --bad-bg: #fbe4e1; --mild: #8a5a00; --mild-bg: #fcefd0;
  --calm: #1f5fa8; --calm-bg: #e0ecfa;
  --quiet-old: #c9c2b2; --quiet-new: #a9c5c4;
  --park: #e3a33b; --snapshot: #d9772e; --jump: #a8508c; --land: #3f7fb8; --restore: #2f9c95; --resume: #4fa35b;
  --undo: #8a8fa0; --other: #8b94a1; --on: #ffffff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1a2029; --ink: #e8ebf0; --soft: #a3adba; --faint: #76808e; --line: #2c343f;
    --lane: #212935; --band: #3a321c; --band-line: #b98f35; --fan: #242319;
    --good: #7fd8a4; --good-bg: #17382a; --bad: #ff9a90; --bad-bg: #44201d; --mild: #f1c66b; --mild-bg: #3b2f14;
    --calm: #93c1f7; --calm-bg: #1a314d;
    --quiet-old: #57534a; --quiet-new: #3d5757;
    --park: #c98a26; --snapshot: #c2651f; --jump: #a3508a; --land: #3a78b0; --restore: #27877f; --resume: #438f50;
    --undo: #6b7181; --other: #6b7482; --on: #ffffff;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 56px; }
h1 { font-size: 30px; line-height: 1.2; margin: 10px 0 6px; font-weight: 650; letter-spacing: -.015em;
  overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 14px; font-weight: 650; }
p { margin: 0; }
.lead { color: var(--soft); font-size: 17px; max-width: 76ch; overflow-wrap: anywhere; }
.when { color: var(--faint); margin-top: 6px; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.pill { display: inline-block; padding: 2px 12px; border-radius: 99px; font-size: 13px; font-weight: 600; }
.good { color: var(--good); background: var(--good-bg); } .bad { color: var(--bad); background: var(--bad-bg); }
.mild { color: var(--mild); background: var(--mild-bg); } .calm { color: var(--calm); background: var(--calm-bg); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px; margin: 26px 0 14px; }
.tile, section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; }
.tile { padding: 14px 18px; min-width: 0; }
.tile b { display: block; font-size: 21px; font-weight: 650; letter-spacing: -.01em; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; line-height: 1.3; }
.tile span { color: var(--soft); font-size: 13px; display: block; overflow-wrap: anywhere; }
section { padding: 20px 22px 22px; margin-top: 14px; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(360px, 1fr)); gap: 0 14px; align-items: start; }
.scroll { overflow-x: auto; }
svg { display: block; width: 100%; min-width: 820px; height: auto; font-family: inherit; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--faint); font-weight: 500; font-size: 13px; padding: 0 12px 6px 0;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
td { padding: 7px 12px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; }
.n { text-align: right; white-space: nowrap; overflow-wrap: normal; } td.n + td:not(.n), th.n + th:not(.n) { padding-left: 10px; }
.name { font-weight: 600; } td b { font-weight: 600; } .soft { color: var(--soft); } .inside td { color: var(--soft); padding-top: 3px; padding-bottom: 3px; }
.v { text-align: right; } .key { min-width: 9em; } code { font-size: 13px; } .inside .name { font-weight: 400; padding-left: 22px; } .sum td { font-weight: 650; }
.chip { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 9px; background: var(--c, var(--other)); }
.meter { width: 34%; padding-right: 0; vertical-align: middle; }
.meter i { display: block; height: 8px; border-radius: 4px; background: var(--c, var(--other)); min-width: 2px; }
.state-done { color: var(--good); } .state-failed, .state-interrupted { color: var(--bad); } .state-running { color: var(--calm); }
.c-park { --c: var(--park); } .c-snapshot { --c: var(--snapshot); } .c-jump { --c: var(--jump); } .c-land { --c: var(--land); }
.c-restore { --c: var(--restore); } .c-resume { --c: var(--resume); } .c-undo { --c: var(--undo); } .c-other { --c: var(--other); }
.c-old { --c: var(--quiet-old); } .c-new { --c: var(--quiet-new); }
ul { margin: 0; padding: 0; list-style: none; } li { padding: 5px 0; overflow-wrap: anywhere; }
.units li { display: inline-block; background: var(--lane); border-radius: 7px; padding: 2px 10px; margin: 0 6px 6px 0; font-size: 13px; }
footer { color: var(--faint); font-size: 13px; margin-top: 22px; }
svg .lane { fill: var(--lane); } svg .bar { fill: var(--c, var(--other)); } svg .broken { stroke: var(--bad); stroke-width: 1.5; }
svg .band { fill: var(--band); stroke: var(--band-line); stroke-width: 1; } svg .fan { fill: var(--fan); }
svg .tick { stroke: var(--line); } svg .lead { stroke: var(--faint); stroke-width: .8; fill: none; }
svg text { fill: var(--ink); font-size: 13px; } svg .small { font-size: 11.5px; fill: var(--soft); }
svg .faint { fill: var(--faint); font-size: 11px; font-variant-numeric: tabular-nums; }
svg .strong { font-weight: 650; } svg .on { fill: var(--on); font-weight: 600; } svg .on2 { fill: var(--on); font-size: 11.5px; }
svg .cross { fill: none; stroke: var(--jump); stroke-width: 2.5; stroke-linecap: round; } svg .fail { fill: var(--bad); font-weight: 700; }
svg .hatched { fill: url(#hatch); } svg .hatch { stroke: var(--card); stroke-width: 2; } svg .marker { fill: var(--undo); font-weight: 700; }
@media print { body { background: #fff; } section, .tile { break-inside: avoid; } }
)css";

}  // namespace upkeep::report
