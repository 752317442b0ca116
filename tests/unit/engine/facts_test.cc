// Reading of /proc: from text, and from a folder that looks like it.

#include <gtest/gtest.h>
#include <unistd.h>

#include "engine/criu/task_facts.h"
#include "os/file.h"

namespace upkeep::engine::criu {
namespace {

TEST(Mappings, Parsed) {
  auto maps = parse_mappings(
      "55d0c0a00000-55d0c0a5c000 r--p 00000000 fe:01 1234                       /usr/bin/redis-server\n"
      "7f0000000000-7f0000100000 rw-p 00000000 00:00 0 \n"
      "7f1000000000-7f1000001000 rw-s 00000000 00:01 32769                      /SYSV00000000 (deleted)\n"
      "7f2000000000-7f2000001000 rw-s 00000000 00:0e 99                         anon_inode:[io_uring]\n"
      "rubbish\n"
      "7ffe00000000-7ffe00021000 rw-p 00000000 00:00 0                          [stack]\n");
  ASSERT_EQ(maps.size(), 5U);
  EXPECT_EQ(maps[0].name, "/usr/bin/redis-server");
  EXPECT_EQ(maps[0].inode, 1234U);
  EXPECT_EQ(maps[0].permissions, "r--p");
  EXPECT_EQ(maps[1].name, "");
  EXPECT_EQ(maps[2].name, "/SYSV00000000 (deleted)");
  EXPECT_EQ(maps[3].name, "anon_inode:[io_uring]");
  EXPECT_EQ(maps[4].name, "[stack]");
  EXPECT_TRUE(parse_mappings("").empty());
}

TEST(Fdinfo, Numbers) {
  constexpr const char* epoll =
      "pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t1057\n"
      "tfd:        8 events:       19 data:                8  pos:0 ino:f5f6 sdev:8\n"
      "tfd:       11 events:       19 data:                b  pos:0 ino:f5f7 sdev:8\n";
  EXPECT_EQ(fdinfo_numbers(epoll, "tfd"), (std::vector<std::int64_t>{8, 11}));
  EXPECT_EQ(fdinfo_numbers("Pid:\t-1\nNSpid:\t0\n", "Pid"), (std::vector<std::int64_t>{-1}));
  EXPECT_TRUE(fdinfo_numbers("Pid:\tx\nPid\n\nPid:", "Pid").empty());
}

TEST(Descriptors, Inodes) {
  Descriptor descriptor;
  descriptor.link = "socket:[4242]";
  EXPECT_EQ(descriptor.inode(), 4242U);
  for (const char* link :
       {"/etc/passwd", "socket:[]", "socket:[x]", "socket:[42", "anon_inode:[eventpoll]"}) {
    descriptor.link = link;
    EXPECT_EQ(descriptor.inode(), 0U) << link;
  }
}

class ProcFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/upkeep-proc-XXXXXX";
    proc_ = ::mkdtemp(name);
    const std::string task = proc_ + "/412";
    for (const char* folder : {"/fd", "/fdinfo", "/ns", "/attr"})
      ASSERT_TRUE(os::make_directories(task + folder));
    write(task + "/stat",
          "412 (redis (x) y) S 1 412 412 34817 -1 4194560 1 0 0 0 0 0 0 0 20 0 5 0 9000 1 1 1\n");
    write(task + "/status", "Name:\tredis\nTracerPid:\t77\n");
    write(task + "/maps", "7f0000000000-7f0000100000 rw-p 00000000 00:00 0 \n");
    write(task + "/fdinfo/3", "pos:\t0\n");
    write(task + "/attr/current", "unconfined\n");
    write(task + "/exe",
          "\x7f"
          "ELF\x01rest");
    ASSERT_EQ(::symlink("socket:[7]", (task + "/fd/3").c_str()), 0);
    ASSERT_EQ(::symlink("pipe:[8]", (task + "/fd/10").c_str()), 0);
    ASSERT_EQ(::symlink("mnt:[4026531841]", (task + "/ns/mnt").c_str()), 0);
    ASSERT_TRUE(os::make_directories(proc_ + "/500/fd"));
    ASSERT_EQ(::symlink("pipe:[8]", (proc_ + "/500/fd/1").c_str()), 0);
    ASSERT_TRUE(os::make_directories(proc_ + "/self/fd"));
  }
  void TearDown() override { (void)os::remove_tree(proc_); }
  static void write(const std::string& path, const std::string& text) {
    ASSERT_TRUE(os::replace_file(path, text));
  }
  std::string proc_;
};

TEST_F(ProcFolder, Task) {
  auto task = read_task(412, proc_);
  ASSERT_TRUE(task) << task.error().message();
  EXPECT_EQ(task->comm, "redis (x) y");
  EXPECT_EQ(task->terminal, 34817);
  EXPECT_EQ(task->status.at("TracerPid"), "77");
  EXPECT_EQ(task->namespaces.at("mnt"), 4026531841U);
  EXPECT_EQ(task->security, "unconfined");
  EXPECT_EQ(task->word_size, 32);
  EXPECT_FALSE(task->shares_memory);
  ASSERT_EQ(task->descriptors.size(), 2U);
  EXPECT_EQ(task->descriptors[0].number, 10);
  EXPECT_EQ(task->descriptors[1].link, "socket:[7]");
  EXPECT_EQ(task->descriptors[1].info, "pos:\t0\n");
  EXPECT_EQ(task->mappings.size(), 1U);
}

TEST_F(ProcFolder, NotThere) {
  auto task = read_task(413, proc_);
  ASSERT_FALSE(task);
  EXPECT_NE(task.error().message().find("413/stat"), std::string::npos) << task.error().message();
}

TEST_F(ProcFolder, HoldersOfAPipe) {
  auto holders = read_holders(proc_);
  EXPECT_EQ(holders.count("pipe:[8]"), 2U);
  EXPECT_EQ(holders.count("socket:[7]"), 1U);
  EXPECT_TRUE(read_holders("/nonexistent").empty());
}

}  // namespace
}  // namespace upkeep::engine::criu
