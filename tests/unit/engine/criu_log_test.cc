#include "engine/criu/log.h"

#include <gtest/gtest.h>

namespace upkeep::engine::criu {
namespace {

// Lines as criu 4.1 writes them.
constexpr const char* kStream =
    "(00.000012) Warn  (criu/kerndat.c:1285): Can't keep kdat cache on non-tempfs\n"
    "(00.004567) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not "
    "permitted\n"
    "(00.056789) Error (criu/sk-unix.c:881): Can't dump half of stream unix connection. name: (null); peer "
    "name: /run/systemd/journal/stdout\n"
    "(00.057000) Error (criu/cr-dump.c:2111): Dumping FAILED.\n";

TEST(CriuLog, FindsErrors) {
  auto lines = error_lines(kStream);
  ASSERT_EQ(lines.size(), 2U);  // the limit is not one: criu goes on
  EXPECT_EQ(
      lines[0],
      "Can't dump half of stream unix connection. name: (null); peer name: /run/systemd/journal/stdout");
  EXPECT_EQ(lines[1], "Dumping FAILED.");
}

TEST(CriuLog, ExplainsWhatIsKnown) {
  EXPECT_EQ(
      explain(kStream),
      "criu: Can't dump half of stream unix connection. name: (null); peer name: /run/systemd/journal/stdout "
      "(a stream socket leads "
      "to a program that is not carried: carry that too, or start the task with its output going elsewhere)");
  EXPECT_EQ(
      explain(
          "(00.1) Error (criu/x.c:1): Something new\n(00.1) Error (criu/cr-dump.c:2111): Dumping FAILED.\n"),
      "criu: Something new");
}

TEST(CriuLog, TheCauseMayComeLater) {
  EXPECT_EQ(explain("(00.1) Error (criu/x.c:1): Can't do it\n(00.1) Error (criu/cr-dump.c:460): Task 7 with "
                    "SysVIPC shmem map @1 doesn't live in IPC ns\n"),
            "criu: Can't do it; Task 7 with SysVIPC shmem map @1 doesn't live in IPC ns (it uses System V "
            "shared memory)");
}

TEST(CriuLog, NothingInNothing) {
  EXPECT_EQ(explain(""), "");
  EXPECT_EQ(explain("Error (without its end\nError"), "");
}

}  // namespace
}  // namespace upkeep::engine::criu
