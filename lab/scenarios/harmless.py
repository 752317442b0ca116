"""Whoever looks at a task and is killed changes nothing in it, on each kernel: the native tests of that, run in the guest.

--set kernels=6.12,7.3 tries only those; --set 'only=Survivor*' as gtest takes it.
"""

import json

EXTRA = ("6.1", "6.12", "6.18", "7.3")
TAGS = {"long"}
TIMEOUT = 1800
BOOT = False
NEEDS_DEB = True   # the program of the tests lies beside the package
SETTINGS = {"kernels": ",".join(EXTRA), "only": "*", "tests": ""}
RUN = "UPKEEP_TEST_CROWD=5 timeout 400 /root/tests --gtest_brief=1 --gtest_output=json:/root/result.json '--gtest_filter={}' 2>&1"


def run(m):
  program = m.native_tests("native_inspect")
  for name in m.settings["kernels"].split(","):
    m.boot(name)
    m.check(m.wait_systemd() == "running", f"{m.uname()}: systemd is content ({m.failed_units()})")
    m.put_stripped(program, "/root/tests")
    said = m.ssh(RUN.format(m.settings["only"]), timeout=420, check=False).out
    tests = json.loads(m.ssh("cat /root/result.json || echo {}", check=False).out).get("testsuites", [])
    m.check(tests, f"{m.uname()}: the tests came to their end: {said[-500:] if not tests else 'yes'}")
    for test in (t for suite in tests for t in suite["testsuite"]):
      failures = [f["failure"] for f in test.get("failures", [])]
      skipped = "" if test["result"] == "COMPLETED" else ", " + test["result"].lower()
      m.check(not failures, f"{name}: {test['classname']}.{test['name']}{skipped} {' '.join(failures)[:400]} ({test['time']})")
    m.shut_down()
