"""docs/kernels.md: which pairs of kernels were tried with the scenario `redis`, newest run of each, from the runs on this machine.

  python3 lab/kernels_table.py > docs/kernels.md      (./check --long runs all pairs)
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from labkit import place  # noqa: E402

HEAD = """# Kernels

Debian's cloud kernels for amd64 from bookworm (6.1), trixie (6.12) and trixie-backports (6.18, 7.3), stock, in QEMU without KVM.
Written by `lab/kernels_table.py` from runs of the scenario `redis`: a redis-server with a client outside that writes all the time
on one connection. A pair that is missing here has not been tried with this version; `./check --long` tries all of them.

| from | to | result | window | seen outside | writes acknowledged, lost |
| --- | --- | --- | --- | --- | --- |"""


def main():
  newest = {}
  for path in sorted((place.CACHE / "runs").glob("redis-*/result.json")):
    r = json.loads(path.read_text())
    facts = r.get("facts", {})
    if facts.get("window_s") is not None or "refused" in facts:
      newest[r["from"], r["to"]] = r
  print(HEAD)
  for (a, b), r in sorted(newest.items()):
    f = r["facts"]
    if "refused" in f:
      print(f"| {a} | {b} | refused beforehand: {f['refused']} |  |  | {f.get('writes_acked', 0)}, {f.get('writes_lost', '?')} |")
      continue
    failed = [c["what"] for c in r["checks"] if not c["ok"]]
    print(f"| {a} | {b} | {'all holds' if r['ok'] else 'fails: ' + '; '.join(failed)} | {f['window_s']:.1f} s | "
          f"{f.get('window_outside_s', 0):.1f} s | {f.get('writes_acked', 0)}, {f.get('writes_lost', '?')} |")


main()
