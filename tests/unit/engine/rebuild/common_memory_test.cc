#include "engine/rebuild/memory/common_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "engine/rebuild/memory/address_space.h"

namespace upkeep::engine {
namespace {

constexpr std::size_t kMappings = 20, kChildren = 40;

std::uint64_t start_of(std::size_t mapping) { return 0x100000 + mapping * 0x10000; }

// Process 100 and its children, 101 on, which have the same libraries mapped and each a stack of its own.
Snapshot server() {
  Snapshot snapshot;
  for (std::size_t i = 0; i <= kChildren; ++i) {
    auto& process = snapshot.processes.emplace_back();
    process.pid = 100 + static_cast<std::int32_t>(i);
    process.ppid = i == 0 ? 1 : 100;
    process.pgrp = process.session = 100;
    process.threads.emplace_back().tid = process.pid;
    process.memory.executable = "/bin/x";
    for (std::size_t m = 0; m < kMappings; ++m)
      process.memory.mappings.push_back({start_of(m),
                                         start_of(m) + 2 * kPage,
                                         true,
                                         m % 2 == 1,
                                         false,
                                         false,
                                         0,
                                         MappingKind::file,
                                         "/lib/y",
                                         1,
                                         2,
                                         {}});
    process.memory.mappings.push_back({0x900000 + i * kPage,
                                       0x901000 + i * kPage,
                                       true,
                                       true,
                                       false,
                                       false,
                                       0,
                                       MappingKind::anonymous,
                                       "[stack]",
                                       0,
                                       0,
                                       {"gd"}});
  }
  return snapshot;
}

CommonMemory look_at(const Snapshot& snapshot) {
  const auto births = plan_births(snapshot);
  EXPECT_TRUE(births);
  return CommonMemory(*births);
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

const MemorySources kSources{0x1000000, 0x2000000, 8, 7, {}};

TEST(CommonMemory, IsMadeOnceAndBornWith) {
  const auto snapshot = server();
  const auto common = look_at(snapshot);
  const auto &parent = snapshot.processes[0], &child = snapshot.processes[1];
  const auto* made = common.to_be_made_by(parent);
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(made->size(), kMappings);
  EXPECT_EQ(common.there_in(parent), made);
  for (std::size_t i = 1; i <= kChildren; ++i) {
    EXPECT_EQ(common.there_in(snapshot.processes[i]), made);
    EXPECT_EQ(common.to_be_made_by(snapshot.processes[i]), nullptr);
  }
  const auto before = compile_common_memory(parent, kSources, *made).describe();
  EXPECT_TRUE(before.starts_with("munmap(0, 0x1000000)\nmunmap(0x2000000, ")) << before;
  EXPECT_EQ(count(before, "mmap("), kMappings) << before;
  EXPECT_EQ(count(before, "open(data"), 2U) << "the executable, and the library: " << before;
  for (const auto* process : {&parent, &child}) {
    const auto after = compile_memory(*process, kSources, made).describe();
    EXPECT_EQ(count(after, "mmap("), 1U) << after;  // its stack, and nothing is taken away
    EXPECT_EQ(count(after, "mprotect("), 0U) << after;
    EXPECT_EQ(count(after, "open(data"), 0U) << "it has its executable: " << after;
  }
}

TEST(CommonMemory, WhatOneFillsAllCanWriteUntilThen) {
  auto snapshot = server();
  snapshot.processes[7].memory.pages = {{start_of(4) + kPage, 1, 0}};
  const auto common = look_at(snapshot);
  const auto* made = common.to_be_made_by(snapshot.processes[0]);
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(made->at(start_of(2)), PROT_READ);
  EXPECT_EQ(made->at(start_of(4)), PROT_READ | PROT_WRITE);
  for (const auto& process : snapshot.processes) {
    const auto after = compile_memory(process, kSources, common.there_in(process)).describe();
    EXPECT_NE(after.find("mprotect(0x140000, 8192, 1)"), std::string::npos) << after;
  }
}

TEST(CommonMemory, WhoDiffersInItIsMadeByItself) {
  auto snapshot = server();
  auto& processes = snapshot.processes;
  processes[1].memory.mappings.erase(processes[1].memory.mappings.begin() + 3);
  processes[2].memory.mappings[3].write = !processes[2].memory.mappings[3].write;
  processes[3].memory.executable = "/bin/z";
  processes[4].namespaces = 0;
  processes[5].memory.mappings.back().kind = MappingKind::io_uring;
  const auto common = look_at(snapshot);
  ASSERT_NE(common.to_be_made_by(processes[0]), nullptr);
  for (std::size_t i = 1; i <= 5; ++i) EXPECT_EQ(common.there_in(processes[i]), nullptr) << i;
  EXPECT_NE(common.there_in(processes[6]), nullptr);
  const auto whole = compile_memory(processes[1], kSources, nullptr).describe();
  EXPECT_TRUE(whole.starts_with("munmap(0, 0x1000000)\n")) << whole;
}

TEST(CommonMemory, OnlyWhatNearlyAllHaveAndWhatIsSimple) {
  auto snapshot = server();
  for (std::size_t i = 1; i <= kChildren; ++i) {
    if (i % 5 == 0) snapshot.processes[i].memory.mappings[2].flags = {"lo"};
  }
  for (auto& process : snapshot.processes) {
    auto& mappings = process.memory.mappings;
    mappings[5].flags = {"dc"};
    mappings[6].protection_key = 1;
    mappings[7].read = mappings[7].write = false, mappings[7].execute = true;
    mappings[8].kind = MappingKind::memfd;
    mappings[9].kind = MappingKind::anonymous, mappings[9].name = "[anon:arena]";
  }
  const auto common = look_at(snapshot);
  const auto* made = common.to_be_made_by(snapshot.processes[0]);
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(made->size(), kMappings - 6);
  for (const std::size_t other : {2U, 5U, 6U, 7U, 8U, 9U}) EXPECT_FALSE(made->contains(start_of(other)));
  EXPECT_EQ(common.there_in(snapshot.processes[5]), made);
}

// 141 is a child of 101's.
TEST(CommonMemory, GrandchildrenAreBornWithItToo) {
  auto snapshot = server();
  auto grandchild = snapshot.processes[1];
  grandchild.pid = grandchild.threads[0].tid = 141;
  grandchild.ppid = 101;
  snapshot.processes.push_back(grandchild);
  grandchild.pid = grandchild.threads[0].tid = 142;
  grandchild.memory.mappings.erase(grandchild.memory.mappings.begin());
  snapshot.processes.push_back(grandchild);
  const auto common = look_at(snapshot);
  const auto* made = common.to_be_made_by(snapshot.processes[0]);
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(common.there_in(snapshot.processes[kChildren + 1]), made);
  EXPECT_EQ(common.there_in(snapshot.processes[kChildren + 2]), nullptr);
}

TEST(CommonMemory, AFewChildrenAreNotWorthIt) {
  auto snapshot = server();
  snapshot.processes.resize(4);
  const auto common = look_at(snapshot);
  EXPECT_EQ(common.to_be_made_by(snapshot.processes[0]), nullptr);
  EXPECT_EQ(common.there_in(snapshot.processes[0]), nullptr);
  EXPECT_EQ(common.there_in(snapshot.processes[1]), nullptr);
}

}  // namespace
}  // namespace upkeep::engine
