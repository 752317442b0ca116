"""docs/coverage.md: what of a default Debian each engine carries, from the newest runs of the scenario `accepts` on this machine.

  lab/run accepts; lab/run accepts --set engine=native; python3 lab/coverage_table.py > docs/coverage.md
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from labkit import place  # noqa: E402

HEAD = """# Coverage

What the engines carry of a default Debian 13, as its units run it, and of programs started by hand. Written by
`lab/coverage_table.py` from runs of the scenario `accepts`, one with each engine ({ways}): what is carried
was stopped and let go in a dry run, then taken through a jump, and served afterwards; what is not is refused by `upkeep check` before
anything stops, for the reasons given (some of each kind). What `upkeep check` looks for, object by object, is for criu in
`src/engine/criu/*_rules.cc`, each rule with a test in `tests/unit/engine`, and for the native engine wherever `src/engine/native/inspect`
makes an `Obstacle`. The kinds of objects that are carried have a test each in `tests/native/engine` and `tests/native/native_rebuild`.

| program | {engines} | why not |
| --- | {rule} | --- |"""


def reasons_of(run, engine, name):
  reasons = run["facts"]["refused"].get(name, ())
  shown = "; ".join(reasons[:2]) + (f"; and {len(reasons) - 2} more" if len(reasons) > 2 else "")
  return f"{engine}: {shown}" if shown else ""


def main():
  runs = [json.loads(p.read_text()) for p in sorted((place.CACHE / "runs").glob("accepts-*/result.json"))]
  good = {r["facts"].get("engine", "criu"): r for r in runs if r["ok"] and isinstance(r["facts"].get("refused"), dict)}
  if not good:
    sys.exit("coverage_table: no run of `accepts` that held is on this machine: lab/run accepts")
  engines = sorted(good)
  print(HEAD.format(ways="; ".join(f"{e}: {good[e]['from']} to {good[e]['to']}" for e in engines), engines=" | ".join(engines),
                    rule=" | ".join("---" for _ in engines)))
  names = {}
  for engine in engines:
    for name in (*good[engine]["facts"]["accepted"], *good[engine]["facts"]["refused"]):
      names[name] = sum(name in good[e]["facts"]["accepted"] for e in engines)
  for name in sorted(names, key=lambda n: -names[n]):
    carried = " | ".join("yes" if name in good[e]["facts"]["accepted"] else "no" if name in good[e]["facts"]["refused"] else "" for e in engines)
    why = " / ".join(filter(None, (reasons_of(good[e], e, name) for e in engines)))
    print(f"| {name} | {carried} | {why} |")


main()
