"""Programs of every day, unmodified, natively: Python asyncio, Node.js, Tomcat, tmux with vim, a shell pipeline, PostgreSQL in mid-transaction.

Each server has a client outside whose one connection has to last; Tomcat and PostgreSQL run as their units run them. Node.js keeps the
io_uring that it makes wherever the kernel lets it, and goes on using it: it takes on clients through it.
"""

from labkit import upgrades

FROM, TO = "6.12", "7.3"
EXTRA = ("6.1", "6.18")
PAIRS = {"long": [("6.12", "7.3"), ("7.3", "6.12")]}
PACKAGES = ("python3", "nodejs", "tomcat10", "vim")
TIMEOUT = 900
NEEDS_DEB = True
SETTINGS = {"connections": "50"}

ASYNCIO = """
import asyncio
count = 0
async def serve(reader, writer):
  global count
  while line := await reader.readline():
    if line.strip():
      continue
    count += 1
    body = str(count).encode()
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(body), body))
    await writer.drain()
async def tick():
  while True:
    await asyncio.sleep(0.01)
async def main():
  server = await asyncio.start_server(serve, "0.0.0.0", 8001)
  ticking = asyncio.create_task(tick())
  async with server:
    await server.serve_forever()
asyncio.run(main())
"""
NODE = """
const http = require('http');
let count = 0, warm = 0;
http.createServer((request, response) => {
  for (let i = 0; i < 20000; i++) warm = (warm * 31 + i) | 0;   // worth compiling
  response.end(String(++count));
}).listen(8002, '0.0.0.0').keepAliveTimeout = 600000;
"""
# Counts what comes through a pipe, line by line.
PIPELINE = "yes | while read -r _; do i=$((i + 1)); [ $((i % 500)) = 0 ] && echo $i; sleep 0.001; done | while read -r n; do echo $n >/var/tmp/piped; done"


def run(m):
  servers = start_servers(m)
  made = rings(m)
  screen = start_editor(m)
  piped = start_pipeline(m)
  database = start_database(m)
  pids = [pid for _, pid, _ in servers] + [screen.pid, piped, main_pid(m, "postgresql@17-main")]
  with upgrades.Journey(m) as journey:
    journey.upgrade(pids, timeout=300)
  journey.verify()
  for name, pid, client in servers:
    check_server(m, name, pid, client)
  check_rings(m, made)
  screen.check()
  before = m.ssh("cat /var/tmp/piped").out
  m.ssh(f"timeout 30 sh -c 'while [ \"$(cat /var/tmp/piped)\" = {before.strip()} ]; do sleep 0.1; done'", check=False)
  after = m.ssh("cat /var/tmp/piped").out
  m.check(int(after) > int(before) > 0, f"the pipeline counts on: {before.strip()}, {after.strip()}")
  for word in ("commit", "count"):
    database.tell(word)
    database.expect(f'"did": "{word}"', 120)
  seen, wanted = database.json(), int(m.settings["connections"])
  m.check((seen["rows"], seen["distinct"]) == (2 * wanted, wanted), f"{wanted} transactions were ended on their connections: {seen}")


def main_pid(m, unit):
  return int(m.ssh(f"systemctl show -p MainPID --value {unit}").out)


def start_servers(m):
  """(name, PID, client) of each."""
  m.ssh("systemctl start --no-block tomcat10")   # the slowest to come up
  m.put(ASYNCIO, "/root/asyncio-server.py")
  m.put(NODE, "/root/server.js")
  node = "setsid -f node /root/server.js </dev/null >/dev/null 2>&1"
  m.ssh(f"setsid -f python3 /root/asyncio-server.py </dev/null >/dev/null 2>&1; {node}")
  m.wait_port(8002, 240)
  before = rings(m)
  m.check(len(before) > 0, f"Node.js has io_uring instances: {before}")
  servers = []
  for name, port, find, arguments in (("Python asyncio", 8001, "pgrep -f '^python3 /root/asyncio'", ()),
                                      ("Node.js", 8002, "pgrep -f '^node /root'", ()),
                                      ("Tomcat", 8080, "systemctl show -p MainPID --value tomcat10",
                                       ("--constant", "--every", "2"))):   # after the 100th answer it closes a connection
    m.wait_port(port, 240)
    client = m.client(name.split()[-1].lower(), "http_counter.py", port, *arguments)
    client.expect("^asked", 120)
    servers.append((name, int(m.ssh(find).out.split()[0]), client))
  return servers


def rings(m):
  """How many requests each io_uring of Node.js has taken, by descriptor."""
  said = m.ssh("cd /proc/$(pgrep -f '^node /root')/fd; for fd in $(ls -l | grep -F '[io_uring]' | awk '{print $9}'); do "
               "echo $fd $(grep CachedSqHead ../fdinfo/$fd); done").out
  return {int(line.split()[0]): int(line.split()[-1]) for line in said.splitlines()}


def check_rings(m, before):
  """A new client is one more entry of the set that it waits with, which is made through the ring."""
  answer = m.ssh("""python3 -c 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:8002/", timeout=60).read().decode())'""", timeout=90)
  m.check(answer.out.strip().isdigit(), f"Node.js answers a new client: {answer.out.strip()}")
  after = rings(m)
  m.check(after.keys() == before.keys() and any(after[fd] > before[fd] for fd in before),
          f"Node.js has the same io_uring instances and goes on using them: {before}, {after}")


def check_server(m, name, pid, client):
  seen = client.finish()
  m.check(seen["connection"] == "open" and seen["wrong"] == 0, f"{name}: the same connection, every answer the next one: {seen}")
  threads = m.ssh(f"ls /proc/{pid}/task | wc -l", check=False).out.strip()
  m.check(int(threads or 0) > 0, f"{name}: still process {pid}, with {threads} threads")


class start_editor:
  """tmux with vim in one pane, in the middle of an insertion, and a shell in the other one."""

  def __init__(self, m):
    self.m = m
    m.ssh("seq 1 50 > /root/numbers; tmux -L carried -f /dev/null new-session -d -x 80 -y 24 'vim -u NONE /root/numbers'; "
          "tmux -L carried split-window 'sh'; sleep 2; tmux -L carried send-keys -t 0 20Gihello' '")
    m.ssh("timeout 30 sh -c 'until tmux -L carried capture-pane -p -t 0 | grep -q hello; do sleep 0.2; done'")
    self.screen = self.capture()
    self.pid = int(m.ssh("tmux -L carried display -p '#{pid}'").out)

  def capture(self):
    return self.m.ssh("tmux -L carried capture-pane -p -t 0", check=False).out

  def check(self):
    self.m.check("hello 20" in self.screen and self.capture() == self.screen, "tmux shows vim's screen as it was")
    self.m.ssh("tmux -L carried send-keys -t 0 Escape :wq Enter; tmux -L carried send-keys -t 1 'echo $((6 * 7)) > /root/said' Enter; sleep 2")
    self.m.check(self.m.ssh("sed -n 20p /root/numbers").out == "hello 20\n", "vim goes on: it has written what was being typed")
    self.m.check(self.m.ssh("cat /root/said", check=False).out == "42\n", "so does the shell beside it")


def start_pipeline(m):
  m.ssh(f"printf '%s\\n' '{PIPELINE}' > /root/pipeline.sh; setsid -f sh /root/pipeline.sh </dev/null >/dev/null 2>&1; "
        "timeout 60 sh -c 'until test -s /var/tmp/piped; do sleep 0.1; done'")
  return int(m.ssh("pgrep -f '^sh /root/pipeline.sh' | head -n 1").out.split()[0])


def start_database(m):
  m.ssh("""echo "host all postgres 10.77.0.0/24 trust" >> /etc/postgresql/17/main/pg_hba.conf
           echo "listen_addresses = '*'" >> /etc/postgresql/17/main/postgresql.conf; systemctl start postgresql""", timeout=180)
  m.wait_port(5432)
  m.ssh("""runuser -u postgres -- psql -qc "create table carried (number int, said text)" """, timeout=60)
  client = m.client("database", "postgres_transactions.py")
  client.tell(f"begin {m.settings['connections']}")
  client.expect('"did": "begin"', 120)
  return client
