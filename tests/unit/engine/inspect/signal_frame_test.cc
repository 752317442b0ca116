#include "engine/inspect/calls/signal_frame.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

namespace upkeep::engine {
namespace {

user_regs_struct interrupted(long call, long result) {
  user_regs_struct registers = {};
  registers.orig_rax = static_cast<unsigned long long>(call);
  registers.rax = static_cast<unsigned long long>(result);
  registers.rip = 0x1002;
  return registers;
}

TEST(SignalFrame, InterruptedCallsBeginAnew) {
  for (long code : {-512L, -513L, -514L}) {
    const auto seen = as_seen_by_handler(interrupted(SYS_read, code));
    EXPECT_EQ(seen.rax, static_cast<unsigned long long>(SYS_read));
    EXPECT_EQ(seen.rip, 0x1000U);
  }
}

TEST(SignalFrame, WhatWasNotInterruptedStays) {
  auto seen = as_seen_by_handler(interrupted(SYS_read, 5));
  EXPECT_EQ(seen.rax, 5U);
  EXPECT_EQ(seen.rip, 0x1002U);
  seen = as_seen_by_handler(interrupted(-1, -512));  // no system call: a number like any other
  EXPECT_EQ(static_cast<long>(seen.rax), -512);
  EXPECT_EQ(seen.rip, 0x1002U);
}

TEST(SignalFrame, SleepsThatCannotGoOnSayEintr) {
  EXPECT_EQ(static_cast<long>(as_seen_by_handler(interrupted(SYS_nanosleep, -516)).rax), -EINTR);
}

TEST(SignalFrame, LiesWhereTheKernelLooks) {
  auto registers = interrupted(-1, 0);
  registers.rsp = 0x7000;
  std::vector<std::uint8_t> xstate(xstate_size(7));
  const std::uint64_t xcr0 = 7;
  std::memcpy(xstate.data() + 464, &xcr0, sizeof xcr0);
  const auto frame = build_signal_frame(0x5000, 0xabcd, registers, 0x1234, xstate);
  auto word = [&](std::size_t at) {
    std::uint64_t value = 0;
    std::memcpy(&value, frame.data() + at, sizeof value);
    return value;
  };
  EXPECT_EQ(word(0), 0xabcdU);
  EXPECT_EQ(word(8), 7U);                 // uc_flags
  EXPECT_EQ(word(48 + 15 * 8), 0x7000U);  // rsp in struct sigcontext
  EXPECT_EQ(word(48 + 16 * 8), 0x1002U);  // rip
  EXPECT_EQ(word(304), 0x1234U);          // uc_sigmask
  const auto fpstate = word(48 + 23 * 8);
  EXPECT_EQ(fpstate % 64, 0U);
  std::uint32_t magic = 0;
  std::memcpy(&magic, frame.data() + (fpstate - 0x5000) + 464, sizeof magic);
  EXPECT_EQ(magic, 0x46505853U);
  std::memcpy(&magic, frame.data() + frame.size() - 4, sizeof magic);
  EXPECT_EQ(magic, 0x46505845U);
  EXPECT_LE(frame.size(), kSignalFrameRoom);
}

}  // namespace
}  // namespace upkeep::engine
