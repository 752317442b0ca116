#include "engine/inspect/calls/proc_text.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

namespace upkeep::engine {
namespace {

TEST(StatFields, NumbersAreThoseOfTheManualPage) {
  std::string text = "12 (a) b) S";
  for (int field = 4; field <= 52; ++field) text += fmt::format(" {}", field == 20 ? -5 : field * 10);
  auto stat = StatFields::parse(text + "\n");
  ASSERT_TRUE(stat) << stat.error().message();
  EXPECT_EQ(stat->comm(), "a) b");
  EXPECT_EQ(stat->state(), 'S');
  EXPECT_EQ((*stat)[4], 40U);
  EXPECT_EQ((*stat)[52], 520U);
  EXPECT_EQ(static_cast<std::int64_t>((*stat)[20]), -5);
  EXPECT_FALSE(StatFields::parse("12 (a) S 1 2"));
  EXPECT_FALSE(StatFields::parse("12 a S"));
}

constexpr const char* kSmaps =
    "559e00000000-559e00002000 r-xp 00001000 fd:02 131 /usr/bin/with space\\012newline\n"
    "Size:                  8 kB\n"
    "VmFlags: rd ex mr mw me sd \n"
    "7f0000000000-7f0000001000 rw-s 00000000 00:01 2049 /dev/zero (deleted)\n"
    "VmFlags: rd wr sh mr mw me ms sd\n"
    "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n"
    "VmFlags: rd wr mr mw me gd ac\n"
    "7ffc00100000-7ffc00102000 r-xp 00000000 00:00 0 [vdso]\n"
    "VmFlags: rd ex mr mw me de sd\n"
    "7ffc00200000-7ffc00202000 rw-s 00000000 00:0e 7 anon_inode:[io_uring]\n"
    "VmFlags: rd wr sh xx\n"
    "7ffc00300000-7ffc00302000 rw-p 00000000 00:00 0 [anon: glibc: malloc]\n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"
    "VmFlags: ex\n";

TEST(Smaps, KindsAndFlags) {
  auto mappings = parse_smaps(kSmaps);
  ASSERT_TRUE(mappings) << mappings.error().message();
  ASSERT_EQ(mappings->size(), 7U);
  const auto& file = (*mappings)[0];
  EXPECT_EQ(file.start, 0x559e00000000U);
  EXPECT_EQ(file.length(), 0x2000U);
  EXPECT_EQ(file.offset, 0x1000U);
  EXPECT_EQ(file.name, "/usr/bin/with space\nnewline");
  EXPECT_EQ(file.kind, MappingKind::file);
  EXPECT_EQ(file.device, makedev(0xfd, 2));
  EXPECT_EQ(file.inode, 131U);
  EXPECT_TRUE(file.read && file.execute && !file.write && !file.shared);
  EXPECT_TRUE(file.flags.empty());
  EXPECT_EQ((*mappings)[1].kind, MappingKind::shared_memory);
  EXPECT_EQ((*mappings)[2].kind, MappingKind::anonymous);
  EXPECT_EQ((*mappings)[2].flags, std::vector<std::string>{"gd"});
  EXPECT_EQ((*mappings)[3].kind, MappingKind::vdso);
  EXPECT_EQ((*mappings)[4].kind, MappingKind::io_uring);
  EXPECT_TRUE((*mappings)[4].has_flag("xx"));
  EXPECT_EQ((*mappings)[5].kind, MappingKind::anonymous);
  EXPECT_EQ((*mappings)[6].kind, MappingKind::vsyscall);
}

TEST(Smaps, HugePages) {
  auto mappings = parse_smaps(
      "7f0000000000-7f0000400000 rw-p 00000000 00:10 77   /anon_hugepage (deleted)\n"
      "KernelPageSize:     2048 kB\n"
      "VmFlags: rd wr mr mw me de ht sd\n"
      "7f0000400000-7f0000600000 rw-s 00200000 00:10 78   /anon_hugepage (deleted)\n"
      "KernelPageSize:     2048 kB\n"
      "VmFlags: rd wr sh mr mw me ms de ht sd\n"
      "7f0000800000-7f0000a00000 rw-p 00000000 00:00 0\n"
      "KernelPageSize:        4 kB\n"
      "VmFlags: rd wr mr mw me ac\n");
  ASSERT_TRUE(mappings) << mappings.error().message();
  ASSERT_EQ(mappings->size(), 3U);
  EXPECT_EQ((*mappings)[0].kind, MappingKind::anonymous);
  EXPECT_EQ((*mappings)[0].huge_page, 2U << 20U);
  EXPECT_EQ((*mappings)[1].kind, MappingKind::shared_memory);
  EXPECT_EQ((*mappings)[1].huge_page, 2U << 20U);
  EXPECT_EQ((*mappings)[2].huge_page, 0U);
}

TEST(Smaps, WhatIsNoneIsAnError) {
  EXPECT_FALSE(parse_smaps("VmFlags: rd\n"));
  EXPECT_FALSE(parse_smaps("559e00000000 r-xp 0 0:0 0\n"));
  EXPECT_FALSE(parse_maps("Size:                  8 kB\n"));
  EXPECT_TRUE(parse_maps("")->empty());
}

TEST(Status, NamesHoldAnything) {
  EXPECT_EQ(name_in_status("Name:\t a b:c \nUmask:\t0022\n"), " a b:c ");
  EXPECT_EQ(name_in_status("Name:\ttwo\\nlines\\\\\nUmask:\t0022\n"), "two\nlines\\");
  EXPECT_EQ(name_in_status("Name:\t\nUmask:\t0022\n"), "");
}

TEST(Status, AValueIsThatOfTheWholeName) {
  const std::string_view status = "SigCgt:\t0000000000000001\nSig:\t 7\nLast: 9";
  EXPECT_EQ(number_of(status, "Sig"), 7U);
  EXPECT_EQ(number_of(status, "SigCgt", 16), 1U);
  EXPECT_EQ(value_of(status, "Last"), "9");
  EXPECT_FALSE(value_of(status, "gCgt"));
  EXPECT_FALSE(value_of("", "Sig"));
}

TEST(Limits, AllSixteen) {
  std::string text = "Limit                     Soft Limit           Hard Limit           Units     \n";
  for (int i = 0; i < 16; ++i)
    text += fmt::format("{:<26}{:<21}{:<21}\n", "Max some limit " + std::to_string(i), i,
                        i == 7 ? "unlimited" : "99");
  auto limits = parse_limits(text);
  ASSERT_TRUE(limits) << limits.error().message();
  EXPECT_EQ((*limits)[7], (Limit{7, ~0ULL}));
  EXPECT_EQ((*limits)[15], (Limit{15, 99}));
  EXPECT_FALSE(parse_limits(text.substr(0, text.size() - 70)));
  EXPECT_FALSE(parse_limits("Max x\n"));
}

TEST(Timers, EveryDeliveryKind) {
  auto timers = parse_timers(
      "ID: 0\nsignal: 14/00000000000000ff\nnotify: signal/pid.2634\nClockID: 1\n"
      "ID: 3\nsignal: 0/0000000000000000\nnotify: none/pid.2634\nClockID: -6\n"
      "ID: 4\nsignal: 34/0000000000000000\nnotify: signal/tid.2635\nClockID: 7\n");
  ASSERT_TRUE(timers) << timers.error().message();
  ASSERT_EQ(timers->size(), 3U);
  EXPECT_EQ((*timers)[0], (PosixTimer{0, 1, 14, 0, 2634, 255, 0, 0, 0}));
  EXPECT_EQ((*timers)[1], (PosixTimer{3, -6, 0, 1, 2634, 0, 0, 0, 0}));
  EXPECT_EQ((*timers)[2], (PosixTimer{4, 7, 34, 4, 2635, 0, 0, 0, 0}));
  EXPECT_FALSE(parse_timers("ID: 0\nsignal: x/0\n"));
  EXPECT_FALSE(parse_timers("signal: 1/0\n"));
}

TEST(Fdinfo, Locks) {
  auto locks = parse_locks(
      "pos:\t0\nlock:\t1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF\n"
      "lock:\t2: POSIX  ADVISORY  READ  1234 fe:00:5678 3 7\n");
  ASSERT_TRUE(locks) << locks.error().message();
  EXPECT_EQ(*locks, (std::vector<FileLock>{{LockKind::flock, true, 0, 0}, {LockKind::posix, false, 3, 5}}));
  EXPECT_FALSE(parse_locks("lock:\t1: POSIX  ADVISORY  READ  1234 fe:00:5678 7 3\n"));
}

TEST(Fdinfo, Inotify) {
  auto marks = parse_inotify(
      "inotify wd:1a ino:9e7e sdev:800013 mask:800afce ignored_mask:0 fhandle-bytes:4 fhandle-type:1 "
      "f_handle:7e9e0000\n");
  ASSERT_TRUE(marks) << marks.error().message();
  ASSERT_EQ(marks->size(), 1U);
  EXPECT_EQ((*marks)[0].wd, 0x1a);
  EXPECT_EQ((*marks)[0].inode, 0x9e7eU);
  EXPECT_EQ((*marks)[0].device, 0x800013U);
  EXPECT_EQ((*marks)[0].handle.data, (std::vector<std::uint8_t>{0x7e, 0x9e, 0, 0}));
  EXPECT_FALSE(parse_inotify("inotify wd:zz ino:1\n"));
}

TEST(Fdinfo, Epoll) {
  auto watches = parse_epoll(
      "pos:\t0\nflags:\t02\nmnt_id:\t15\ntfd:        5 events: 8000001b data: ffffffffffffffff  pos:0 ino:2 "
      "sdev:f\n");
  ASSERT_TRUE(watches) << watches.error().message();
  EXPECT_EQ(*watches, (std::vector<EpollWatch>{{5, 0x8000001b, ~0ULL, 0, 2}}));
  EXPECT_FALSE(parse_epoll("tfd: 5 events: 19\n"));
}

TEST(Fdinfo, Timerfd) {
  auto timer = parse_timerfd(
      "pos:\t0\nclockid: 1\nticks: 3\nsettime flags: 01\nit_value: (0, 49406829)\nit_interval: (1, 0)\n");
  ASSERT_TRUE(timer) << timer.error().message();
  EXPECT_EQ(*timer, (TimerFile{1, 3, 1, 49406829, 1'000'000'000}));
  EXPECT_FALSE(parse_timerfd("clockid: 1\nticks: 3\n"));
}

TEST(KeyedText, FindsKeysInAnyOrder) {
  KeyedText text("Name:\ta\nUid:\t7\t8\nGroups:\t\nCapInh:\t00ff\nNoNewPrivs:\t1\n");
  EXPECT_EQ(text.number("Uid"), 7U);
  EXPECT_EQ(text.value("Groups"), "");
  EXPECT_EQ(text.number("CapInh", 16), 0xffU);
  EXPECT_EQ(text.number("NoNewPrivs"), 1U);
  EXPECT_EQ(text.value("Name"), "a");
  EXPECT_EQ(text.number("CapInh", 16), 0xffU);
  EXPECT_FALSE(text.value("Inh"));
  EXPECT_FALSE(text.number("Groups"));
  EXPECT_EQ(text.value("Name"), "a");
}

TEST(KeyedText, TheLastLineNeedsNoNewline) {
  KeyedText text("a:\t1\nb:\t2");
  EXPECT_EQ(text.number("b"), 2U);
  EXPECT_EQ(text.number("a"), 1U);
  EXPECT_FALSE(KeyedText("").value("a"));
}

TEST(Fdinfo, Numbers) {
  EXPECT_EQ(number_of("a:\t7\nflags:\t0100002\n", "flags", 8), 0100002U);
  EXPECT_EQ(number_of("Umask:\t0022\n", "Umask", 8), 022U);
  EXPECT_FALSE(number_of("xflags:\t1\n", "flags"));
  EXPECT_FALSE(number_of("flags:\tz\n", "flags"));
}

}  // namespace
}  // namespace upkeep::engine
