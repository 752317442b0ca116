// The real systemd as PID 1 of namespaces of the test's own, born with the sockets, and the real journald.

#include "systemd/journald_sockets.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "../folder.h"
#include "os/child.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::systemd {
namespace {

constexpr const char* kSystemd = "/lib/systemd/systemd";

// In children, where a test cannot fail: the status says in which line.
#define MUST(condition) \
  if (!(condition)) ::_exit(1 + __LINE__ % 200)

// Cgroups of version 2 for what the test starts: systemd makes some below.
class Cgroup {
 public:
  Cgroup() {
    for (const auto& mount : os::read_mountinfo(0).value_or(std::vector<os::MountInfo>())) {
      if (mount.fs_type != "cgroup2") continue;
      path_ = fmt::format("{}/upkeep-test-{}", mount.mount_point, ::getpid());
      if (::mkdir(path_.c_str(), 0755) < 0) path_.clear();
    }
  }
  Cgroup(const Cgroup&) = delete;
  ~Cgroup() { remove(path_); }
  const std::string& path() const { return path_; }

 private:
  static void remove(const std::string& path) {
    if (path.empty()) return;
    for (const auto& name : os::list_directory(path).value_or(std::vector<std::string>())) {
      struct stat status = {};
      if (::stat((path + "/" + name).c_str(), &status) == 0 && S_ISDIR(status.st_mode))
        remove(path + "/" + name);
    }
    for (int tries = 0; tries < 1000 && ::rmdir(path.c_str()) < 0 && errno == EBUSY; ++tries) ::usleep(5000);
  }
  std::string path_;
};

void mount_tmpfs(const char* at) { MUST(::mount("test", at, "tmpfs", 0, "mode=755") == 0); }

void make_device(const char* path, unsigned minor) {
  MUST(::mknod(path, S_IFCHR | 0666, makedev(1, minor)) == 0 && ::chmod(path, 0666) == 0);
}

// A machine for systemd: all that it writes to is empty and in memory, the rest read-only. OUT stays
// writable.
void make_machine(const std::string& out) {
  MUST(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
  const auto place = os::open_file(out, O_PATH | O_DIRECTORY);
  MUST(place.has_value());
  MUST(::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0);
  for (const char* folder : {"/run", "/tmp", "/var/log", "/dev"}) mount_tmpfs(folder);
  make_device("/dev/null", 3), make_device("/dev/random", 8), make_device("/dev/urandom", 9);
  MUST(::mount("proc", "/proc", "proc", 0, nullptr) == 0 &&
       ::mount("sysfs", "/sys", "sysfs", MS_RDONLY, nullptr) == 0);
  MUST(::mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, nullptr) == 0);
  MUST(::mkdir("/run/out", 0700) == 0);
  const auto place_now = fmt::format("/proc/self/fd/{}", place->get());
  MUST(::mount(place_now.c_str(), "/run/out", nullptr, MS_BIND, nullptr) == 0);
  MUST(::mount(nullptr, "/run/out", nullptr, MS_REMOUNT | MS_BIND, nullptr) == 0);
}

void make_units() {
  MUST(os::make_directories("/run/systemd/system"));
  MUST(os::replace_file("/run/systemd/system/test.target",
                        "[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n"
                        "Wants=systemd-journald.service test.service\n"));
  MUST(os::replace_file(
      "/run/systemd/system/test.service",
      "[Unit]\nDefaultDependencies=no\nAfter=systemd-journald.service\n[Service]\n"
      "ExecStart=/bin/sh -c 'while [ $$(journalctl -q | grep -c carried) -lt 4 ]; do sleep 0.1; "
      "done; journalctl -q -o json >/run/out/new && mv /run/out/new /run/out/journal'\n"
      "StandardOutput=null\n"));
  MUST(os::make_directories("/run/systemd/journald.conf.d"));
  MUST(os::replace_file("/run/systemd/journald.conf.d/test.conf",
                        "[operation::Journal]\nReadKMsg=no\nAudit=no\n"));
}

int connected(const char* path, int type) {
  const int fd = ::socket(AF_UNIX, type, 0);
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::string_view(path).copy(name.sun_path, sizeof name.sun_path - 1);
  MUST(::connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0);
  return fd;
}

void say(int fd, std::string_view text) {
  MUST(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

// A task that is there before systemd: one line at once, one when journald has long been there.
void be_carried() {
  const int out = connected("/run/systemd/journal/stdout", SOCK_STREAM),
            log = connected("/dev/log", SOCK_DGRAM);
  say(out, "identifier\ncarried.service\n30\n1\n0\n0\n0\n");
  if (::fork() != 0) return;
  const std::string cgroup = "/sys/fs/cgroup/system.slice/carried.service";
  MUST(os::make_directories(cgroup) && os::write_value(cgroup + "/cgroup.procs", "0"));
  say(out, "carried before\n");
  say(log, "<30>syslog[7]: carried before too");
  for (int i = 0; i < 600 && !os::exists("/run/systemd/journal/streams"); ++i) ::usleep(50'000);
  say(out, "carried after\n");
  say(log, "<30>syslog[7]: carried after too");
  ::pause();
}

int become_systemd(const std::string& out) {
  make_machine(out);
  make_units();
  auto sockets = JournaldSockets::listen();
  MUST(sockets);
  MUST(!JournaldSockets::listen());  // their names are taken
  be_carried();
  sockets->hand_on();
  ::clearenv();
  ::setenv("container", "test", 1);
  ::setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
  ::execl(kSystemd, "systemd", "--unit=test.target", nullptr);
  return 127;
}

TEST(JournaldSockets, SystemdTakesThemAndJournaldReadsWhatWaited) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  if (!os::exists(kSystemd) || !os::exists("/etc/machine-id"))
    GTEST_SKIP() << "needs systemd and a machine ID";
  const testing::Folder out("/var/tmp");
  const Cgroup cgroup;
  if (cgroup.path().empty()) GTEST_SKIP() << "needs a hierarchy of cgroups of version 2";
  auto machine = os::fork_child([&] {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    MUST(os::write_value(cgroup.path() + "/cgroup.procs", "0"));
    MUST(::unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                   CLONE_NEWCGROUP) == 0);
    auto first = os::fork_child([&] {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      return become_systemd(out.path());
    });
    MUST(first);
    auto ended = os::wait_child(*first, std::chrono::seconds(90));
    return ended ? ended->code().value_or(126) : 125;
  });
  ASSERT_TRUE(machine) << machine.error().message();
  std::string journal;
  for (int i = 0; i < 1200 && journal.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    journal = os::read_file(out.path() + "/journal").value_or("");
    if (auto ended = os::wait_child(*machine, std::chrono::milliseconds(0)))
      FAIL() << "the machine ended: " << ended->text();
  }
  ::kill(machine->pid, SIGKILL);
  ASSERT_TRUE(os::wait_child(*machine, std::chrono::seconds(20)));
  std::vector<std::string> seen;
  while (!journal.empty()) {
    const auto entry = nlohmann::json::parse(journal.substr(0, journal.find('\n')), nullptr, false);
    journal.erase(0, std::min(journal.find('\n'), journal.size() - 1) + 1);
    const auto message = entry.value("MESSAGE", "");
    if (message.starts_with("carried"))
      seen.push_back(fmt::format("{} {}: {}", entry.value("SYSLOG_IDENTIFIER", ""),
                                 entry.value("_SYSTEMD_UNIT", "-"), message));
  }
  EXPECT_THAT(seen, ::testing::UnorderedElementsAre("identifier carried.service: carried before",
                                                    "syslog carried.service: carried before too",
                                                    "identifier carried.service: carried after",
                                                    "syslog carried.service: carried after too"));
}

}  // namespace
}  // namespace upkeep::systemd
