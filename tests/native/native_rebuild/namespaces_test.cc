// Namespaces as systemd's units have them.

#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstring>

#include "fixture.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

using NamespacesTest = TreeTest;

void must(bool holds) {
  if (!holds) ::_exit(1);
}

void bind(const char* from, const char* to) { must(::mount(from, to, nullptr, MS_BIND, nullptr) == 0); }
void remount(const char* path, unsigned long flags) {
  must(::mount(nullptr, path, nullptr, MS_REMOUNT | MS_BIND | flags, nullptr) == 0);
}

bool has_text(const std::string& path, std::string_view text) {
  auto content = os::read_file(path);
  return content && *content == text;
}

TEST_F(NamespacesTest, UtsNames) {
  Subject subject(
      [] {
        must(::unshare(CLONE_NEWUTS) == 0);
        must(::sethostname("cell", 4) == 0 && ::setdomainname("block", 5) == 0);
      },
      [] {
        utsname names = {};
        ::uname(&names);
        HOLDS(std::strcmp(names.nodename, "cell") == 0);
        HOLDS(std::strcmp(names.domainname, "block") == 0);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  EXPECT_NE(os::namespace_id(subject.pid(), "uts").value_or(0), os::namespace_id(0, "uts").value_or(0));
}

// Of two that differ in others.
TEST_F(NamespacesTest, OneThatTreesHaveInCommonIsMadeOnce) {
  Subject first([] {
    must(::unshare(CLONE_NEWUTS | CLONE_NEWNS) == 0);
    must(::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) == 0);
  });
  const auto other = first.pid();
  Subject second([other] {
    auto uts = os::open_file(fmt::format("/proc/{}/ns/uts", other), O_RDONLY);
    must(uts && ::setns(uts->get(), CLONE_NEWUTS) == 0);
    ::close(uts->release());
    must(::unshare(CLONE_NEWIPC) == 0);
  });
  ASSERT_TRUE(carry(std::vector<const Subject*>{&first, &second}));
  EXPECT_EQ(os::namespace_id(first.pid(), "uts").value_or(0),
            os::namespace_id(second.pid(), "uts").value_or(1));
  EXPECT_NE(os::namespace_id(0, "uts").value_or(0), os::namespace_id(second.pid(), "uts").value_or(0));
  EXPECT_NE(os::namespace_id(first.pid(), "ipc").value_or(0),
            os::namespace_id(second.pid(), "ipc").value_or(0));
}

// A cgroup of the test's own (version 2), which goes away again.
class OwnCgroup {
 public:
  OwnCgroup() {
    for (const char* hierarchy : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
      if (!os::exists(std::string(hierarchy) + "/cgroup.procs")) continue;
      name_ = fmt::format("/upkeep-test-{}", ::getpid());
      folder_ = hierarchy + name_;
    }
    if (!folder_.empty()) (void)os::make_directories(folder_ + "/below");
  }
  OwnCgroup(const OwnCgroup&) = delete;
  ~OwnCgroup() {
    if (folder_.empty()) return;
    for (const char* path : {"/below", ""})
      EXPECT_TRUE(eventually([&] { return ::rmdir((folder_ + path).c_str()) == 0; }));
  }
  const std::string& folder() const { return folder_; }
  const std::string& name() const { return name_; }

 private:
  std::string folder_, name_;
};

std::string version_2(pid_t pid) { return os::cgroup_of(pid).value_or(""); }

TEST_F(NamespacesTest, ACgroupNamespace) {
  const OwnCgroup cgroup;
  if (cgroup.folder().empty()) GTEST_SKIP() << "no cgroups of version 2";
  Subject subject(
      [&] {
        must(static_cast<bool>(os::write_value(cgroup.folder() + "/cgroup.procs", "0")));
        must(::unshare(CLONE_NEWCGROUP) == 0);
        must(static_cast<bool>(os::write_value(cgroup.folder() + "/below/cgroup.procs", "0")));
      },
      [] { HOLDS(version_2(::getpid()) == "/below"); });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  EXPECT_EQ(version_2(subject.pid()), cgroup.name() + "/below");
  EXPECT_NE(os::namespace_id(subject.pid(), "cgroup").value_or(0), os::namespace_id(0, "cgroup").value_or(0));
}

TEST_F(NamespacesTest, ACgroupNamespaceThatItHasLeftIsRefused) {
  const OwnCgroup cgroup;
  if (cgroup.folder().empty()) GTEST_SKIP() << "no cgroups of version 2";
  Subject subject([&] {
    must(static_cast<bool>(os::write_value(cgroup.folder() + "/below/cgroup.procs", "0")));
    must(::unshare(CLONE_NEWCGROUP) == 0);
  });
  // Not by itself: cgroups that are mounted with nsdelegate, as systemd mounts them, keep it in.
  ASSERT_OK(os::write_value(cgroup.folder() + "/cgroup.procs", std::to_string(subject.pid())));
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("it has moved out of what is the root of it (/..)"));
}

TEST_F(NamespacesTest, AnEmptyIpcNamespaceAndOneThatIsNot) {
  Subject empty([] { must(::unshare(CLONE_NEWIPC) == 0); });
  ASSERT_TRUE(carry(empty));
  EXPECT_NE(os::namespace_id(empty.pid(), "ipc").value_or(0), os::namespace_id(0, "ipc").value_or(0));
  Subject full([] {
    must(::unshare(CLONE_NEWIPC) == 0);
    must(::syscall(SYS_msgget, 1, 01600) >= 0);
  });
  auto saved = save_trees({full.pid()}, images() + "2", false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("System V objects in it (/proc/sysvipc/msg)"));
}

// Read-only, hidden, private and writable places; a file that is open in one of them, a socket with a name.
TEST_F(NamespacesTest, AMountNamespaceLikeThoseOfUnits) {
  const auto base = folder_.path();
  for (const char* name : {"/open", "/open/below", "/private", "/hidden", "/fresh"})
    ASSERT_TRUE(os::make_directories(base + name));
  ASSERT_TRUE(os::replace_file(base + "/open/file", "the host's"));
  ASSERT_TRUE(os::replace_file(base + "/private/file", "its own"));
  Subject subject(
      [&] {
        must(::open((base + "/open/file").c_str(), O_RDONLY) == 3);  // as systemd opens standard input
        must(::unshare(CLONE_NEWNS) == 0);
        must(::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) == 0);
        const auto open = base + "/open", hidden = base + "/hidden", fresh = base + "/fresh";
        bind((base + "/private").c_str(), open.c_str());
        remount(open.c_str(), MS_NOSUID | MS_NOEXEC | MS_NODEV);
        must(::mount("tmpfs", hidden.c_str(), "tmpfs", MS_NOSUID | MS_RDONLY, "size=64k,mode=0") == 0);
        must(::mount("private", fresh.c_str(), "tmpfs", MS_NOEXEC, "size=128k,mode=1755,uid=7") == 0);
        must(static_cast<bool>(os::replace_file(fresh + "/note", "kept", 0640)));
        must(::mkdir((fresh + "/below").c_str(), 0711) == 0 &&
             ::symlink("note", (fresh + "/link").c_str()) == 0);
        must(::mknod((fresh + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0);
        bind((base + "/private/file").c_str(), (fresh + "/note").c_str());
        bind("/usr", "/usr");
        remount("/usr", MS_RDONLY);
        must(::mount(nullptr, fresh.c_str(), nullptr, MS_PRIVATE, nullptr) == 0);
        must(::mount(nullptr, fresh.c_str(), nullptr, MS_SHARED, nullptr) == 0);
        must(::open((open + "/file").c_str(), O_RDONLY) == 4);
        must(::chdir((fresh + "/below").c_str()) == 0);
      },
      [&] {
        const auto open = base + "/open", fresh = base + "/fresh";
        HOLDS(has_text(open + "/file", "its own"));
        HOLDS(has_text("../note", "its own"));
        HOLDS(has_text("../link", "its own"));
        struct stat status = {};
        HOLDS(::stat(fresh.c_str(), &status) == 0 && status.st_mode == (S_IFDIR | 01755) &&
              status.st_uid == 7);
        HOLDS(::stat("../null", &status) == 0 && status.st_rdev == makedev(1, 3));
        HOLDS(::open("/usr/upkeep-was-here", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
        char text[8] = {};
        HOLDS(::pread(4, text, 7, 0) == 7 && std::strcmp(text, "its own") == 0);
        HOLDS(::pread(3, text, 7, 0) == 7 && std::strcmp(text, "the hos") == 0);
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  EXPECT_TRUE(has_text(base + "/open/file", "the host's"));
  auto mounts = os::read_mountinfo(subject.pid());
  ASSERT_OK(mounts);
  auto options = [&](const std::string& path) {
    const auto* mount = os::mount_of(*mounts, path);
    return mount->mount_point == path ? mount->options + " " + mount->super_options : "nothing";
  };
  EXPECT_THAT(options(base + "/open"), HasSubstr("rw,nosuid,nodev,noexec"));
  EXPECT_THAT(options(base + "/hidden"), HasSubstr("ro,nosuid,relatime ro,size=64k"));
  EXPECT_THAT(options("/usr"), HasSubstr("ro"));
  EXPECT_NE(os::mount_of(*mounts, base + "/fresh")->shared, 0);
  auto left_behind = os::list_directory("/run");
  ASSERT_OK(left_behind);
  for (const auto& name : *left_behind) EXPECT_FALSE(name.starts_with("upkeep-mounts")) << name;
}

TEST_F(NamespacesTest, WhatOnlyItsOwnMountsShowIsRefusedWhereItIsTooMuch) {
  Subject subject([] {
    must(::unshare(CLONE_NEWNS) == 0);
    must(::mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) == 0);
    must(::mount("tmpfs", "/mnt", "tmpfs", 0, nullptr) == 0);
    must(static_cast<bool>(os::replace_file("/mnt/large", std::string(2U << 20U, 'x'))));
  });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("mount /mnt: there are more than 1048576 bytes in it"));
  EXPECT_TRUE(moves(subject.pid()));
}

// Root and one more user, mapped to themselves by somebody who stays outside.
void enter_user_namespace() {
  int ends[2];
  must(::pipe(ends) == 0);
  const pid_t process = ::getpid();
  const pid_t outside = ::fork();
  if (outside == 0) {
    char byte = 0;
    must(::read(ends[0], &byte, 1) == 1);
    const auto folder = fmt::format("/proc/{}", process);
    const bool mapped = os::write_value(folder + "/uid_map", "0 0 1\n1234 1234 1\n") &&
                        os::write_value(folder + "/gid_map", "0 0 1\n1234 1234 1\n");
    ::_exit(mapped ? 0 : 1);
  }
  must(::unshare(CLONE_NEWUSER) == 0);
  must(::write(ends[1], "", 1) == 1);
  int status = -1;
  must(::waitpid(outside, &status, 0) == outside && status == 0);
  ::close(ends[0]), ::close(ends[1]);
}

// As PrivateUsers=yes makes it: root, the service's user, and threads.
TEST_F(NamespacesTest, AUserNamespaceWithThreads) {
  Subject subject(
      [&] {
        must(::unshare(CLONE_NEWNS | CLONE_NEWUTS) == 0);
        must(::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) == 0);
        enter_user_namespace();
        const gid_t groups[] = {1234, 0};
        must(::setgroups(2, groups) == 0);
        must(::setresgid(1234, 1234, 1234) == 0);
        must(::setresuid(1234, 1234, 1234) == 0);
        const rlimit limit = {100, 200};
        must(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
        for (std::size_t i = 0; i < 3; ++i) {
          std::thread([i] {
            for (;; rest()) board().value[2 + i]++;
          }).detach();
        }
        while (board().value[2] == 0 || board().value[3] == 0 || board().value[4] == 0) rest();
      },
      [] {
        HOLDS(::getuid() == 1234 && ::getegid() == 1234);
        gid_t groups[8] = {};
        HOLDS(::getgroups(8, groups) == 2);
        rlimit limit = {};
        HOLDS(::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 100 && limit.rlim_max == 200);
        auto map = os::read_file("/proc/self/uid_map");
        HOLDS(map && std::count(map->begin(), map->end(), '\n') == 2);
      });
  const auto pid = subject.pid();
  auto threads = os::list_threads(pid);
  ASSERT_OK(threads);
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  EXPECT_EQ(os::list_threads(pid).value_or(std::vector<pid_t>()), *threads);
  for (const std::size_t word : {3U, 4U, 5U}) {
    const auto seen = peek(pid, word);
    EXPECT_TRUE(eventually([&] { return peek(pid, word) != seen; })) << "thread " << word;
  }
  EXPECT_NE(os::namespace_id(pid, "user").value_or(0), os::namespace_id(0, "user").value_or(0));
}

TEST_F(NamespacesTest, OnesInsideOfAUserNamespaceAreRefused) {
  Subject subject([] { must(::unshare(CLONE_NEWUSER | CLONE_NEWUTS) == 0); });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("uts namespace of its own: it was made inside of another"));
  EXPECT_TRUE(moves(subject.pid()));
}

}  // namespace
}  // namespace upkeep::engine
