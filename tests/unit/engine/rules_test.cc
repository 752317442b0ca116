// Every rule: silent where it should be, and by name where not.

#include "engine/criu/rules.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

namespace upkeep::engine::criu {
namespace {

class Rules : public ::testing::Test {
 protected:
  Rules() {
    carried_.root = 412;
    carried_.tasks = {{412, 1, 412, 412, {412, 413}, 9, "nginx", "/"}};
    tree_.tree = &carried_;
    TaskFacts task;
    task.pid = 412;
    task.comm = "nginx";
    task.state = 'S';
    task.session = 412;
    task.word_size = 64;
    for (const char* kind :
         {"mnt", "user", "uts", "ipc", "net", "pid", "cgroup", "time", "time_for_children"}) {
      machine_.namespaces[kind] = task.namespaces[kind] = 100;
    }
    tree_.tasks = {task};
    machine_.destination.lowest_safe_pid = 200;
    machine_.name_of = [](pid_t pid) { return "outsider " + std::to_string(pid); };
  }

  TaskFacts& task() { return tree_.tasks.front(); }
  Descriptor& descriptor(const std::string& link, mode_t type = 0, dev_t device = 0) {
    Descriptor d;
    d.number = static_cast<int>(task().descriptors.size());
    d.link = link;
    if (type != 0) {
      d.status.emplace();
      d.status->st_mode = type | 0600;
      d.status->st_rdev = device;
      d.status->st_nlink = 1;
    }
    task().descriptors.push_back(d);
    return task().descriptors.back();
  }
  SocketFacts& socket(std::uint64_t inode, int domain, int type, int protocol) {
    auto& d = descriptor("socket:[" + std::to_string(inode) + "]", S_IFSOCK);
    auto& facts = tree_.sockets[{412, d.number}];
    facts.domain = domain;
    facts.type = type;
    facts.protocol = protocol;
    return facts;
  }
  UnixSocket& unix_socket(std::uint32_t inode, int type, int state, std::uint32_t peer,
                          const std::string& name = "") {
    return machine_.unix_sockets[inode] = {inode, type, state, peer, name, {}, 0};
  }
  std::string refusals() { return text(Finding::Severity::refusal); }
  std::string warnings() { return text(Finding::Severity::warning); }

  CarriedTree carried_;
  TreeFacts tree_;
  MachineFacts machine_;

 private:
  std::string text(Finding::Severity severity) {
    std::string all;
    for (const auto& finding : judge(tree_, machine_)) {
      if (finding.severity == severity) all += finding.what + ": " + finding.why + "\n";
    }
    return all;
  }
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(Rules, NothingAgainstAnOrdinaryTask) {
  descriptor("/dev/null", S_IFCHR, makedev(1, 3));
  descriptor("/dev/urandom", S_IFCHR, makedev(1, 9));
  descriptor("/var/log/nginx/access.log", S_IFREG);
  descriptor("anon_inode:[eventpoll]").info = "tfd:        0 events: 19\n";
  descriptor("anon_inode:[eventfd]");
  descriptor("anon_inode:inotify");
  descriptor("anon_inode:[pidfd]").info = "Pid:\t412\n";
  descriptor("pidfd:[77]").info = "Pid:\t-1\n";
  descriptor("pipe:[9]", S_IFIFO);
  machine_.holders = {{"pipe:[9]", 412}};
  task().mappings = {{"rw-p", 0, "[heap]"},
                     {"r-xp", 5, "/usr/sbin/nginx"},
                     {"rw-s", 6, "/dev/zero (deleted)"},
                     {"rw-s", 7, "/dev/shm/x"},
                     {"rw-s", 8, "/[aio] (deleted)"}};
  task().security = "unconfined";
  EXPECT_EQ(refusals(), "");
  EXPECT_EQ(warnings(), "");
}

TEST_F(Rules, NamespacesByName) {
  for (auto [kind, words] : {std::pair{"mnt", "mount namespace"},
                             {"user", "user namespace"},
                             {"net", "network namespace"},
                             {"uts", "host name"},
                             {"pid", "PID namespace"},
                             {"cgroup", "cgroup namespace"}}) {
    task().namespaces[kind] = 7;
    EXPECT_HAS(refusals(), words);
    EXPECT_HAS(refusals(), "412 (nginx)");
    task().namespaces[kind] = 100;
  }
}

TEST_F(Rules, OwnClocksAndIpcAreFineWhereAllShareThem) {
  for (const char* kind : {"time", "time_for_children", "ipc"}) task().namespaces[kind] = 7;
  EXPECT_EQ(refusals(), "");  // a tree that has been carried before
  auto child = task();
  child.pid = 420;
  child.namespaces["time"] = child.namespaces["time_for_children"] = 8;
  tree_.tasks.push_back(child);
  EXPECT_HAS(refusals(), "420 (nginx): its clocks");
  tree_.tasks[1].namespaces = task().namespaces;
  tree_.tasks[1].namespaces["ipc"] = 9;
  EXPECT_HAS(refusals(), "420 (nginx): its IPC namespace");
}

TEST_F(Rules, LowPidsOfThreadsToo) {
  EXPECT_EQ(refusals(), "");
  carried_.tasks[0].threads = {412, 150};
  EXPECT_HAS(refusals(), "PID 150 is so low");
}

TEST_F(Rules, TracedCompatConfinedVfork) {
  task().status["TracerPid"] = "0";
  EXPECT_EQ(refusals(), "");
  task().status["TracerPid"] = "99";
  EXPECT_HAS(refusals(), "process 99 traces it");
  task().word_size = 32;
  EXPECT_HAS(refusals(), "32-bit");
  task().security = "/usr/sbin/nginx (enforce)";
  EXPECT_HAS(refusals(), "AppArmor confines it (/usr/sbin/nginx (enforce))");
  task().shares_memory = true;
  EXPECT_HAS(refusals(), "shares its memory");
}

TEST_F(Rules, Mappings) {
  for (auto [name, words] : {std::pair{"anon_inode:[io_uring]", "cannot be made again"},
                             {"anon_inode:[perf_event]", "perf_event"},
                             {"socket:[5]", "packet socket"},
                             {"/dev/dri/card0", "the device /dev/dri/card0"},
                             {"[uprobes]", "uprobe"}}) {
    task().mappings = {{"rw-s", 1, name}};
    EXPECT_HAS(refusals(), words);
  }
  task().mappings = {{"rw-s", 1, "/SYSV0052e2c1 (deleted)"}};
  EXPECT_EQ(refusals(), "");
  EXPECT_HAS(warnings(), "System V");
}

TEST_F(Rules, AnonymousInodes) {
  for (const char* kind : {"[io_uring]", "[perf_event]", "bpf-map", "bpf-prog", "[userfaultfd]", "kvm-vm",
                           "[vfio-device]", "[secretmem]", "something new"}) {
    task().descriptors.clear();
    descriptor(std::string("anon_inode:") + kind);
    EXPECT_NE(refusals(), "") << kind;
  }
  task().descriptors.clear();
  descriptor("anon_inode:[fanotify]").info = "fanotify flags:0 event-flags:8002\n";
  EXPECT_EQ(refusals(), "");
  task().descriptors[0].info = "fanotify flags:4 event-flags:8002\n";
  EXPECT_HAS(refusals(), "other programs' opens");
}

TEST_F(Rules, EpollAndPidfdTargets) {
  descriptor("anon_inode:[eventpoll]").info = "tfd:        5 events: 19\n";
  EXPECT_HAS(refusals(), "watches descriptor 5, which is closed");
  task().descriptors.clear();
  descriptor("pidfd:[77]").info = "Pid:\t300\n";
  EXPECT_HAS(refusals(), "pidfd of process 300");
}

TEST_F(Rules, PipesToOutside) {
  descriptor("pipe:[9]", S_IFIFO);
  machine_.holders = {{"pipe:[9]", 412}, {"pipe:[9]", 700}};
  EXPECT_HAS(refusals(), "a pipe that outsider 700 has open as well");
  task().descriptors.clear();
  descriptor("/run/initctl", S_IFIFO);
  EXPECT_EQ(refusals(), "");
  machine_.holders.emplace("/run/initctl", 1);
  EXPECT_HAS(refusals(), "outsider 1");
}

TEST_F(Rules, Devices) {
  descriptor("/dev/kvm", S_IFCHR, makedev(10, 232));
  EXPECT_HAS(refusals(), "the device /dev/kvm (10:232)");
  task().descriptors.clear();
  descriptor("/dev/vda", S_IFBLK, makedev(254, 0));
  EXPECT_HAS(refusals(), "block device /dev/vda");
}

TEST_F(Rules, Terminals) {
  descriptor("/dev/pts/3", S_IFCHR, makedev(136, 3));
  EXPECT_HAS(refusals(), "/dev/pts/3 belongs to a program that is not in its tree");
  descriptor("/dev/pts/ptmx", S_IFCHR, makedev(5, 2)).info = "tty-index:\t3\n";
  task().terminal = 136 * 256 + 3;
  EXPECT_EQ(refusals(), "");
  task().terminal = 136 * 256 + 4;
  EXPECT_HAS(refusals(), "/dev/pts/4");
  task().terminal = 4 * 256 + 1;
  EXPECT_HAS(refusals(), "terminal of the machine (4:1)");
}

TEST_F(Rules, Files) {
  descriptor("/proc/412/stat", S_IFREG);
  EXPECT_EQ(refusals(), "");
  descriptor("/proc/500/stat", S_IFREG);
  EXPECT_HAS(refusals(), "of a process that is not in its tree");
  task().descriptors.clear();
  auto& big = descriptor("/tmp/big (deleted)", S_IFREG);
  big.status->st_nlink = 0;
  big.status->st_blocks = (std::int64_t{1} << 30) / 512;
  EXPECT_EQ(refusals(), "");
  task().descriptors[0].status->st_blocks += 8;
  EXPECT_HAS(refusals(), "larger than 1024 MB");
  task().descriptors.clear();
  descriptor("/var/log/rotated", S_IFREG).displaced = true;
  EXPECT_HAS(refusals(), "another file by now");
}

TEST_F(Rules, UnixStreams) {
  socket(10, AF_UNIX, SOCK_STREAM, 0);
  unix_socket(10, SOCK_STREAM, 1, 20);
  unix_socket(20, SOCK_STREAM, 1, 10, "/run/systemd/journal/stdout");
  machine_.holders = {{"socket:[20]", 300}};
  EXPECT_HAS(refusals(), "Unix stream to /run/systemd/journal/stdout of outsider 300");
  EXPECT_HAS(judge(tree_, machine_).front().remedy, "outside its unit");
  socket(20, AF_UNIX, SOCK_STREAM, 0);  // both ends inside
  EXPECT_EQ(refusals(), "");
}

TEST_F(Rules, UnixConnectionsNotAccepted) {
  socket(10, AF_UNIX, SOCK_STREAM, 0);
  unix_socket(10, SOCK_STREAM, 1, 0);
  EXPECT_HAS(refusals(), "waits for a server");
  unix_socket(30, SOCK_STREAM, 10, 0, "/run/x").pending = {10};
  EXPECT_HAS(refusals(), "waits for a server");
  socket(30, AF_UNIX, SOCK_STREAM, 0);
  EXPECT_EQ(refusals(), "");
  unix_socket(10, SOCK_STREAM, 1, 0).shutdown = 3;  // the other end is gone
  machine_.unix_sockets.erase(30);
  EXPECT_EQ(refusals(), "");
}

TEST_F(Rules, UnixDatagrams) {
  socket(10, AF_UNIX, SOCK_DGRAM, 0);
  unix_socket(10, SOCK_DGRAM, 7, 20);
  unix_socket(20, SOCK_DGRAM, 7, 0, "/run/systemd/journal/dev-log");
  EXPECT_EQ(refusals(), "");
  unix_socket(20, SOCK_DGRAM, 7, 0);
  EXPECT_HAS(refusals(), "no name to find it by");
  unix_socket(20, SOCK_DGRAM, 7, 10);
  EXPECT_HAS(refusals(), "one end of a pair");
  machine_.unix_sockets.erase(20);
  EXPECT_HAS(refusals(), "another network namespace");
}

TEST_F(Rules, InternetSockets) {
  auto& tcp = socket(10, AF_INET, SOCK_STREAM, IPPROTO_TCP);
  EXPECT_EQ(refusals(), "");
  tcp.upper_protocol = "tls";
  EXPECT_HAS(refusals(), "handled by 'tls'");
  tcp.upper_protocol.clear();
  tcp.in_repair = true;
  EXPECT_HAS(refusals(), "repair mode");
  tcp.in_repair = false;
  tcp.link_local_unbound = true;
  EXPECT_HAS(refusals(), "link-local");
  tcp.link_local_unbound = false;
  tcp.protocol = IPPROTO_MPTCP;
  EXPECT_HAS(refusals(), "MPTCP");
  tcp.protocol = IPPROTO_SCTP;
  EXPECT_HAS(refusals(), "protocol 132");
  tcp.protocol = IPPROTO_UDP;
  tcp.corked = true;
  EXPECT_HAS(refusals(), "UDP_CORK");
}

TEST_F(Rules, ConnectionsWithinTheMachine) {
  auto& tcp = socket(10, AF_INET, SOCK_STREAM, IPPROTO_TCP);
  tcp.local = "127.0.0.1:40000";
  tcp.remote = "127.0.0.1:6379";
  tcp.loopback_peer = true;
  EXPECT_EQ(refusals(), "");
  EXPECT_HAS(warnings(), "connection to 127.0.0.1:6379 on this machine ends");
  machine_.carried_ends.insert("127.0.0.1:6379");
  EXPECT_EQ(warnings(), "");
}

TEST_F(Rules, OtherFamilies) {
  socket(10, AF_NETLINK, SOCK_RAW, 0);
  EXPECT_EQ(refusals(), "");
  tree_.sockets.begin()->second.has_data = true;
  EXPECT_HAS(refusals(), "have not been read");
  for (int family : {AF_ALG, AF_VSOCK, AF_XDP, AF_CAN}) {
    tree_.sockets.begin()->second.domain = family;
    EXPECT_HAS(refusals(), "address family " + std::to_string(family));
  }
}

TEST_F(Rules, EachReasonOnce) {
  for (int i = 0; i < 5; ++i) descriptor("anon_inode:[io_uring]");
  EXPECT_EQ(judge(tree_, machine_).size(), 1U);
}

TEST_F(Rules, RestartableSequencesOfANewerKernel) {
  task().rseq_size = 33;
  for (const char* release : {"", "6.3.0", "6.12.117+deb13-cloud-amd64", "7.3.4", "10.0"}) {
    machine_.destination.release = release;
    EXPECT_EQ(refusals(), "") << release;
  }
  machine_.destination.release = "6.1.0-56-cloud-amd64";
  EXPECT_HAS(refusals(), "33 bytes of restartable sequences (rseq), and 6.1.0-56-cloud-amd64 takes 32");
  task().rseq_size = 28;
  EXPECT_EQ(refusals(), "");
}

TEST_F(Rules, FilesThatOthersWrite) {
  descriptor("/var/log/shared", S_IFREG);
  machine_.holders.emplace("/var/log/shared", 412);
  machine_.holders.emplace("/var/log/shared", 700);
  machine_.writes = [](pid_t, const std::string&) { return false; };
  EXPECT_EQ(warnings(), "");
  machine_.writes = [](pid_t pid, const std::string& link) {
    return pid == 412 || link == "/var/log/shared";
  };
  EXPECT_HAS(warnings(), "outsider 700 may write to /var/log/shared as well");
  EXPECT_EQ(refusals(), "");
}

TEST_F(Rules, ZombiesAndLeaders) {
  task().state = 'Z';
  EXPECT_HAS(refusals(), "zombie");
  task().state = 'S';
  carried_.tasks[0].session = 300;
  EXPECT_EQ(refusals(), "");
  EXPECT_HAS(warnings(), "led by a program that is not carried");
  carried_.tasks[0].session = 0;
  EXPECT_HAS(refusals(), "from outside this PID namespace");
}

}  // namespace
}  // namespace upkeep::engine::criu
