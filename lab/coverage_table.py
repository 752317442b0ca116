"""docs/coverage.md: what is carried, from the newest runs on this machine of the scenarios `accepts`, `redis_unit` and `programs`, and from
the native tests, here and as `kinds` takes them to other kernels; what is not, from the source of those refusals. Beside it what criu
carries of the same services: from lab/coverage-criu.json, which is the last run of `accepts` in which criu took upkeep's place.

  lab/run accepts; lab/run redis_unit; lab/run programs
  lab/run kinds; lab/run kinds --from 7.3 --to 6.12
  build/tests/native/native_rebuild/native_native_rebuild --gtest_output=json:build/kinds.json
  python3 lab/coverage_table.py build/kinds.json > docs/coverage.md
"""

import argparse
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from labkit import place  # noqa: E402

HEAD = """# Coverage

What upkeep carries of a default Debian 13, as its units run it, and of programs started by hand. Written by
`lab/coverage_table.py` from a run of the scenario `accepts` ({from} to {to}): what is carried
was stopped and let go in a dry run, then taken through a jump, and served afterwards; what is not is refused by `upkeep check` before
anything stops, for the reasons given (some of each kind). `upkeep check` refuses wherever `src/engine/inspect` makes an `Obstacle`: those
that name no numbers are listed at the end.

The column of criu is from its last run, of version {version} on {date} ({criu_from} to {criu_to}),
in which it took the place of upkeep's engine in the same scenario (`lab/coverage-criu.json`).

## Services of a default Debian, and programs started by hand

| program | criu {version} ({date}) | upkeep | why not |
| --- | --- | --- | --- |"""


def shown(reasons):
  return "; ".join(reasons[:2]) + (f"; and {len(reasons) - 2} more" if len(reasons) > 2 else "")


def services(run):
  """Of criu from the record, of upkeep from this run of `accepts`."""
  criu = json.loads((place.LAB / "coverage-criu.json").read_text())
  facts = run["facts"]
  ours = {"accepted": facts["accepted"], "refused": {name: shown(reasons) for name, reasons in facts["refused"].items()}}
  print(HEAD.format(**{"from": run["from"]}, to=run["to"], version=criu["version"], date=criu["date"], criu_from=criu["from"],
                    criu_to=criu["to"]))
  both = {"criu": criu, "upkeep": ours}
  names = {}
  for of in both.values():
    for name in (*of["accepted"], *of["refused"]):
      names[name] = sum(name in other["accepted"] for other in both.values())
  for name in sorted(names, key=lambda n: -names[n]):
    carried = " | ".join("yes" if name in of["accepted"] else "no" if name in of["refused"] else "" for of in both.values())
    why = " / ".join(f"{who}: {of['refused'][name]}" for who, of in both.items() if name in of["refused"])
    print(f"| {name} | {carried} | {why} |")


def main():
  p = argparse.ArgumentParser(prog="coverage_table.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("tests", nargs="?", type=pathlib.Path, metavar="FILE", help="what gtest says of the native tests, as JSON")
  a = p.parse_args()
  runs = [json.loads(p.read_text()) for p in sorted((place.CACHE / "runs").glob("accepts-*/result.json"))]
  good = [r for r in runs if r["ok"] and isinstance(r["facts"].get("refused"), dict)]
  if not good:
    sys.exit("coverage_table: no run of `accepts` that held is on this machine: lab/run accepts")
  services(good[-1])
  in_machines()
  if a.tests:
    kinds(json.loads(a.tests.read_text()))
  print(SEEN_BY_PROGRAMS)
  refusals()


def in_machines():
  """Of the newest run between each pair of kernels."""
  for scenario, title in (("redis_unit", "Debian's redis-server, with a background save running"), ("programs", "Programs of every day, unmodified (Node.js with its io_uring)")):
    runs = [json.loads(p.read_text()) for p in sorted((place.CACHE / "runs").glob(f"{scenario}-*/result.json"))]
    newest = {(r["from"], r["to"]): r for r in runs if r.get("checks") and "to" in r and not r["error"]}
    if newest:
      print(f"\n## {title}\n")
    for (from_, to), run in sorted(newest.items()):
      print(f"{from_} to {to}:\n")
      for check in run["checks"]:
        print(f"- {'' if check['ok'] else '**not:** '}{check['what']}")
      print()


# What the scenario says of tests that are none for it.
ITSELF, NOTHING = "it saves what it has made itself", "it carries nothing"


def words(name):
  return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=A)(?=[A-Z][a-z])", " ", name).capitalize()


def across():
  """{(from, to): {test: {"result", "why"}}} of the newest run of `kinds` between two kernels with all of its tests, and of later ones with
  some of them."""
  found = {}
  for path in sorted((place.CACHE / "runs").glob("kinds-*/result.json")):
    run = json.loads(path.read_text())
    tests, way = run.get("facts", {}).get("kinds", {}), (run.get("from"), run.get("to"))
    if len(tests) > 100:
      found[way] = tests
    elif way in found:
      found[way].update(tests)
  return found


def arrow(way):
  return " -> ".join(release.partition("+")[0] for release in way)


def not_across(ways, name):
  """Why a test that held here was not seen across kernels in all directions: "" where it was, None where it is none of those."""
  whys = {}
  for way, tests in sorted(ways.items()):
    found = tests.get(name, {"result": "failed", "why": "it did not run"})
    if found["result"] != "held":
      whys.setdefault(found["why"].splitlines()[0] if found["why"] else found["result"], []).append(way)
  if set(whys) & {ITSELF, NOTHING}:
    return None
  return "; ".join(why + ("" if len(of) == len(ways) else f" ({', '.join(map(arrow, of))})") for why, of in whys.items())


def kinds(report):
  ways = across()
  print("\n## Objects, one test each\n\nMade again on the kernel that they were on, or with the vdso of another one "
        "(`tests/native/native_rebuild`)"
        + (f"; and carried to another kernel with their tests (scenario `kinds`: {', '.join(map(arrow, sorted(ways)))}), where something is "
           "carried and not refused, and the test does not do the carrying itself." if ways else ".")
        + "\n\n| | carried | seen across kernels | not seen there |\n| --- | --- | --- | --- |")
  for suite in report["testsuites"]:
    names, crossed = {}, {}
    for test in suite["testsuite"]:   # of a test with parameters all have to hold
      name = words(test["name"].split("/")[0])
      names[name] = names.get(name, True) and test["result"] == "COMPLETED" and not test.get("failures")
      why = not_across(ways, f"{suite['name']}.{test['name']}") if ways else None
      crossed[name] = crossed.get(name) or why
    untried = {words(test["name"].split("/")[0]) for test in suite["testsuite"] if test["result"] == "SKIPPED"}
    held = [name for name, good in names.items() if good]
    failed = [f"{'not tried here:' if name in untried else '**not:**'} {name}" for name, good in names.items() if not good]
    there = [name for name in names if crossed[name] == ""]
    elsewhere = [f"{name}: {crossed[name]}" for name in names if crossed[name]]
    print(f"| {words(suite['name'].split('/')[-1])} | {'; '.join(held + failed)} | "
          f"{'all' if len(there) == len(names) else '; '.join(there)} | {'; '.join(elsewhere)} |")


SEEN_BY_PROGRAMS = '''
## What is another one afterwards

Numbers that the kernel chooses, and that no system call asks for. A program that has kept one and compares it with what it is told
later sees the difference: inode numbers (fstat(2)) of pipes, sockets, memfds, shared memory and files without a name, and of files
on file systems that are made anew; cookies of sockets (SO_COOKIE); serial numbers of keys; numbers of namespaces (/proc/PID/ns) and of
mounts. On another kernel also its boot ID, the indices of network interfaces and the numbers of devices.'''


def refusals():
  print("\n## What is refused, by name, before anything stops\n")
  found = {}
  for path in sorted((place.LAB.parent / "src/engine/inspect").rglob("*.cc"), key=lambda path: path.stem):
    source = re.sub(r'"\s*\n\s*"', "", path.read_text())   # of two lines
    what = r'(?:"[^"]*"[^,"]*|fmt::format\([^()]*(?:\([^()]*\)[^()]*)*\)|descriptor_title\([^()]*\)|[\w.() ]+)'
    for text in re.findall(r'(?:refuse\(\s*(?:[\w.&*]+,\s*)?|obstacles_?\.push_back\(\s*\{[^,{}]+,\s*' + what + r',\s*)"((?:[^"\\]|\\.)*)"', source):
      if "{" not in text and len(text) > 20:
        found.setdefault(path.stem.replace("_", " "), {})[text] = True
  for where, texts in found.items():
    print(f"- {where}: " + "; ".join(texts))


main()
