"""The demonstration: one upgrade of a machine with redis, told to a person, with one JSON object as the last line."""

import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from labkit import bare, kernels, place, run, upgrades  # noqa: E402


LAST_LINE = ("from", "to", "same_pid", "same_connection", "keys", "digest_equal", "writes_acked", "writes_lost", "window_s",
             "window_outside_s", "bare_kexec_s")


def arguments():
  p = argparse.ArgumentParser(prog="./demo", description=__doc__)
  p.add_argument("--from", dest="from_", default="6.12", metavar="KERNEL", help="6.1, 6.12, 6.18, 7.3 or an exact release")
  p.add_argument("--to", default="7.3", metavar="KERNEL")
  p.add_argument("--json", metavar="FILE", help="write the last line there too")
  p.add_argument("--keep", action="store_true", help="leave the machine running and say how to log in")
  p.add_argument("--keys", type=int, default=200000, help=argparse.SUPPRESS)
  p.add_argument("--deb", help=argparse.SUPPRESS)
  p.add_argument("--parse-only", action="store_true", help=argparse.SUPPRESS)
  return p.parse_args()


def text(facts):
  parts = facts["window"]["parts"]
  width = max(len(part["name"]) for part in parts)
  lines = ["", f"  {facts['from']}  ->  {facts['to']}", "",
           f"  redis-server     {'the same process' if facts['same_pid'] else 'NOT the same process'}, "
           f"{facts['keys']:,} keys, digest {'equal' if facts['digest_equal'] else 'DIFFERENT'} before and after",
           f"  the client       {'on the same connection' if facts['same_connection'] else 'LOST ITS CONNECTION'}, "
           f"{facts['writes_acked']:,} writes acknowledged, {facts['writes_lost']} lost", "",
           f"  the window       {facts['window_s']:.2f} s; seen from outside {facts['window_outside_s']:.2f} s"]
  for part in parts:
    bar = "#" * max(1, round(40 * part["s"] / facts["window_s"]))
    lines.append(f"    {part['name']:<{width}}  {part['s']:6.2f} s  {part['kernel']:<3}  {bar}")
  lines += [f"  a bare kexec     {facts['bare_kexec_s']:.2f} s from `kexec -e` to PID 1 (kexec-tools, median of three); "
            f"the window is {facts['window_s'] / facts['bare_kexec_s']:.2f} times that", ""]
  return "\n".join(lines)


def main():
  a = arguments()
  if a.parse_only:
    return 0
  scenario = run.scenario("redis")
  result = run.play(scenario, a.from_, a.to, a.deb, a.keep, None, {"keys": str(a.keys), "bare": "yes"})
  code = run.report(result)
  facts = result.get("facts", {}) | {"from": result.get("from"), "to": result.get("to")}
  if not all(name in facts for name in LAST_LINE):   # it ended before there was something to tell
    return code or 1
  print(text(facts))
  line = json.dumps({name: facts[name] for name in LAST_LINE})
  if a.json:
    pathlib.Path(a.json).write_text(line + "\n")
  print(line, flush=True)
  return code


run.main_guard(main)
