"""docs/coverage.md: what of a default Debian is carried and what is not, from the newest run of the scenario `accepts` on this machine.

  lab/run accepts; python3 lab/coverage_table.py > docs/coverage.md
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from labkit import place  # noqa: E402

HEAD = """# Coverage

What the engine `criu` carries of a default Debian 13, as its units run it, and of programs started by hand. Written by
`lab/coverage_table.py` from a run of the scenario `accepts`: what is carried was stopped and let go in a dry run, then taken
through a jump ({from_} to {to}), and served afterwards; what is not is refused by `upkeep check` before anything stops, for the
reasons given (one of each kind). What `upkeep check` looks for, object by object, is in `src/engine/criu/*_rules.cc`; each rule
has its test in `tests/unit/engine`, and the kinds of objects that are carried have theirs in `tests/native/engine`.

| program | carried | why not |
| --- | --- | --- |"""


def main():
  runs = [json.loads(p.read_text()) for p in sorted((place.CACHE / "runs").glob("accepts-*/result.json"))]
  good = [r for r in runs if r["ok"] and isinstance(r["facts"].get("refused"), dict)]
  if not good:
    sys.exit("coverage_table: no run of `accepts` that held is on this machine: lab/run accepts")
  newest = good[-1]
  print(HEAD.format(from_=newest["from"], to=newest["to"]))
  for name in newest["facts"]["accepted"]:
    print(f"| {name} | yes | |")
  for name, reasons in newest["facts"]["refused"].items():
    shown = "; ".join(reasons[:2]) + (f"; and {len(reasons) - 2} more" if len(reasons) > 2 else "")
    print(f"| {name} | no | {shown} |")


main()
