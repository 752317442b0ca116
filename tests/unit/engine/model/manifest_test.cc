// The manifest comes back as it was, and what is none of ours is refused with one clear error.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "../../../manifest_document.h"
#include "common/fields.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {
namespace {

using ::testing::HasSubstr;

Snapshot example() {
  Snapshot snapshot;
  snapshot.kernel = "6.12.1-test";
  snapshot.vdso.data = {0x7f, 0x45};
  snapshot.clocks = {1, 2, 3};
  snapshot.processes.reserve(2);  // the first one is referred to when there is the second
  auto& process = snapshot.processes.emplace_back();
  process.pid = process.pgrp = process.session = 100;
  process.ppid = 1;
  process.comm = std::string("na\xffme\n");
  process.limits[3] = {8U << 20U, ~0ULL};
  auto& thread = process.threads.emplace_back();
  thread.tid = 100;
  thread.credentials.groups = {0, 4294967295U};
  thread.scheduling.nice = -20;
  auto& stopped = thread.stopped.emplace();
  stopped.registers.general[26] = ~0ULL;
  stopped.registers.xstate.data = {1, 2, 3};
  stopped.pending.push_back({{4, 5}});
  process.threads.emplace_back().tid = 101;
  process.stopped.emplace().actions[63] = {1, 2, 3, 4};
  process.stopped->posix_timers.push_back({1, -6, 10, 4, 101, 99, 5, 6, 7});
  process.memory.mappings.push_back(
      {0x10000, 0x14000, true, true, false, false, 0, MappingKind::anonymous, "[heap]", 0, 0, {"nr"}, 0});
  process.memory.pages.push_back({0x11000, 2, 4096});
  process.memory.guards.push_back({0x13000, 0x14000});
  process.locks.push_back({7, {LockKind::posix, true, 5, 6}});
  process.descriptors.push_back({0, true, 0});
  process.descriptors.push_back({7, false, 1});
  auto& zombie = snapshot.processes.emplace_back();
  zombie.pid = 102;
  zombie.ppid = zombie.session = 100;
  zombie.pgrp = 90;  // whose leader has ended
  zombie.exit_status = 256;
  snapshot.files.resize(3);
  snapshot.files[0].kind = FileKind::path;
  snapshot.files[0].path = PathFile{"/dev/null", 5, 6, 020666, 259, ""};
  snapshot.files[1].kind = FileKind::epoll;
  snapshot.files[1].epoll = Epoll{{{0, 1, ~0ULL, 0}}};
  snapshot.kept_files.push_back(
      {KeptKind::segment, 1, 77, "", 8192, 0600, 11, 12, 0, 0, Segment{-5, 13, 14, true}, {{4096, 1, 0}}});
  snapshot.files[2].kind = FileKind::socket;
  auto& socket = snapshot.files[2].socket.emplace();
  socket.family = socket.type = 1;
  socket.remote.data = {1, 0};
  for (char c : kJournalStdout) socket.remote.data.push_back(static_cast<std::uint8_t>(c));
  socket.journal = JournalStream{"identifier", "some.service", 30, true, false, true, false};
  snapshot.seccomp_filters.push_back({{{6, 0, 0, 0, 0, 0, 255, 127}}, true});
  process.threads.front().seccomp = {2, {0}};
  snapshot.keyrings.push_back({9, "_ses", 1, 2, 3, {{"user", "invocation_id", 1, 2, 3, {{7, 8}}}}});
  process.stopped->keyring = 0;
  auto& namespaces = snapshot.namespaces.emplace_back();
  namespaces.numbers = {.user = 11, .uts = 12, .mnt = 13, .net = 14, .cgroup = 15, .time = 16};
  namespaces.time = ClockDifference{-5, 7};
  namespaces.network = "{}";
  namespaces.cgroup_roots = {{"", "/system.slice/some.service"}};
  namespaces.user = UserNamespace{{{0, 0, 1}}, {{0, 0, 1}}, false};
  namespaces.uts = UtsNames{"name", "domain"};
  namespaces.mounts.push_back(
      {5, 0, 254, 1, "/", "/", "rw", "ext4", "/dev/vda", "rw", 0, 1, false, "/", true, {}});
  namespaces.mounts.push_back({6,
                               5,
                               0,
                               40,
                               "/",
                               "/dev",
                               "rw",
                               "tmpfs",
                               "tmpfs",
                               "rw",
                               0,
                               0,
                               false,
                               "",
                               false,
                               {{"", 040755, 0, 0, 0, 1, "", {}}, {"/null", 020666, 0, 0, 259, 2, "", {}}}});
  process.namespaces = 0;
  snapshot.obstacles.push_back({100, "what", "why", ""});
  return snapshot;
}

std::string altered(const std::function<void(nlohmann::json&)>& change) {
  auto content = to_json(example());
  change(content);
  return document_around(std::move(content));
}

std::string error_of(const std::string& text) {
  auto read = read_manifest(text);
  return read ? "no error" : read.error().message();
}

struct Item {
  std::uint32_t number = 0;
  std::vector<std::string> names;
  static void fields(auto& self, auto& visit) {
    visit("number", self.number);
    visit("names", self.names);
  }
};
struct List {
  std::vector<Item> items;
  static void fields(auto& self, auto& visit) { visit("items", self.items); }
};

// Halves of it are read beside each other.
TEST(LongLists, AreReadWhole) {
  List list;
  for (std::uint32_t i = 0; i < 1001; ++i) list.items.push_back({i, {std::to_string(i)}});
  const auto text = encode(list);
  const auto read = decode<List>(text);
  ASSERT_TRUE(read) << read.error().message();
  ASSERT_EQ(read->items.size(), 1001U);
  for (std::uint32_t i = 0; i < 1001; ++i) {
    EXPECT_EQ(read->items[i].number, i);
    EXPECT_EQ(read->items[i].names, std::vector<std::string>{std::to_string(i)});
  }
  auto with = [&](const std::string& from, const std::string& to, std::string in) {
    in.replace(in.find(from), from.size(), to);
    return in;
  };
  const auto late = with("\"number\":900,", "\"number\":-1,", text);
  auto wrong = decode<List>(late);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message(), "items[900].number: out of range");
  wrong = decode<List>(with("\"number\":7,", "\"number\":\"x\",", late));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message(), "items[7].number: not a whole number");
}

TEST(Manifest, ComesBack) {
  auto back = read_manifest(write_manifest(example()));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(*back, example());
}

TEST(Manifest, RootsAreThoseWithoutParents) {
  EXPECT_EQ(example().roots(), std::vector<std::int32_t>{100});
  EXPECT_EQ(example().find(102)->exit_status, 256);
  EXPECT_EQ(example().find(103), nullptr);
}

TEST(Manifest, ProcessesAreFoundWhateverBecomesOfTheList) {
  Snapshot snapshot;
  for (std::int32_t pid : {5, 3, 9}) {
    snapshot.processes.emplace_back().pid = pid;
    EXPECT_EQ(snapshot.find(pid), &snapshot.processes.back());
  }
  snapshot.processes.emplace_back();  // its ID is filled in later
  EXPECT_EQ(snapshot.find(7), nullptr);
  snapshot.processes.back().pid = 7;
  EXPECT_EQ(snapshot.find(7), &snapshot.processes[3]);
  const auto copy = snapshot;
  snapshot.processes.erase(snapshot.processes.begin());
  EXPECT_EQ(snapshot.find(5), nullptr);
  EXPECT_EQ(snapshot.find(9), &snapshot.processes[1]);
  EXPECT_EQ(copy.find(9), &copy.processes[2]);
}

TEST(Manifest, CutShortAnywhereIsRefused) {
  const auto text = write_manifest(example());
  for (std::size_t length = 0; length + 2 < text.size(); length += 7)
    ASSERT_NE(error_of(text.substr(0, length)), "no error") << length;
  EXPECT_THAT(error_of(text.substr(0, text.size() / 2)), HasSubstr("cut short"));
}

TEST(Manifest, AnotherVersionIsRefusedByNumber) {
  auto document = nlohmann::json::parse(write_manifest(example()));
  document["version"] = kFormatVersion + 1;
  EXPECT_EQ(error_of(document.dump()), fmt::format("a snapshot of version {}; this upkeep reads version {}",
                                                   kFormatVersion + 1, kFormatVersion));
  document.erase("version");
  EXPECT_THAT(error_of(document.dump()), HasSubstr("without the number"));
}

TEST(Manifest, SomethingElseIsRefused) {
  for (const char* text : {"[]", "{}", "7", "null", "{\"format\": \"other\"}"})
    EXPECT_EQ(error_of(text), "not a snapshot of upkeep's") << text;
}

TEST(Manifest, AlteredContentsAreRefused) {
  auto text = write_manifest(example());
  const std::string_view pid = "\"pid\":100";
  const auto found = text.find(pid);
  ASSERT_NE(found, std::string::npos);
  text.replace(found, pid.size(), "\"pid\":199");
  EXPECT_THAT(error_of(text), HasSubstr("checksum"));
  // The same contents, written otherwise.
  EXPECT_THAT(error_of(nlohmann::json::parse(write_manifest(example())).dump()), HasSubstr("checksum"));
}

TEST(Manifest, EndlessNestingIsRefused) {
  constexpr std::size_t kDeep = 10'000'000;  // no stack would have room for it
  EXPECT_THAT(error_of(std::string(kDeep, '[')), HasSubstr("cut short"));
  EXPECT_THAT(error_of("{\"snapshot\":" + std::string(kDeep, '[') + std::string(kDeep, ']') + "}"),
              HasSubstr("not a snapshot"));
}

TEST(Manifest, WrongFieldsAreNamedWithTheirPlace) {
  auto error = [](const std::function<void(nlohmann::json&)>& change) { return error_of(altered(change)); };
  EXPECT_EQ(error([](auto& j) { j["processes"][0].erase("limits"); }), "processes[0].limits: missing");
  EXPECT_EQ(error([](auto& j) { j.erase("clocks"); }), "clocks: missing");
  EXPECT_EQ(error([](auto& j) { j["processes"][0]["pid"] = "100"; }), "processes[0].pid: not a whole number");
  EXPECT_EQ(error([](auto& j) { j["processes"][0]["pid"] = 1LL << 40; }), "processes[0].pid: out of range");
  EXPECT_EQ(error([](auto& j) { j["files"][1]["flags"] = -1; }), "files[1].flags: out of range");
  EXPECT_EQ(error([](auto& j) { j["processes"] = 1; }), "processes: not a list");
  EXPECT_EQ(error([](auto& j) { j["clocks"] = nullptr; }), "clocks: not an object");
  EXPECT_EQ(error([](auto& j) { j["kernel"] = true; }), "kernel: not a string");
  EXPECT_EQ(error([](auto& j) { j["processes"][0]["limits"].erase(0); }),
            "processes[0].limits: not a list of 16");
  EXPECT_EQ(error([](auto& j) { j["processes"][0]["job_stopped"] = 1; }),
            "processes[0].job_stopped: neither true nor false");
  EXPECT_EQ(error([](auto& j) { j["clocks"]["tai"] = 1; }),
            "clocks: has a field 'tai' that this version does not know");
}

// Processes that were forked have most of their mappings in common.
TEST(Manifest, EqualMappingsAreWrittenOnce) {
  auto snapshot = example();
  auto fork = snapshot.processes[0];
  fork.pid = fork.threads[0].tid = 103;
  fork.threads.resize(1);
  fork.memory.pages.clear(), fork.memory.guards.clear();
  auto& mappings = fork.memory.mappings;
  mappings.push_back({0x20000, 0x21000, true, false, false, false, 0, MappingKind::anonymous, "", 0, 0, {}});
  snapshot.processes.push_back(fork);
  const auto text = write_manifest(snapshot);
  const auto document = nlohmann::json::parse(text);
  EXPECT_EQ(document["mappings"].size(), 2U);
  EXPECT_EQ(document["snapshot"]["processes"][0]["memory"]["mappings"].dump(), "[0]");
  EXPECT_EQ(document["snapshot"]["processes"][2]["memory"]["mappings"].dump(), "[0,1]");
  const auto back = read_manifest(text);
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(*back, snapshot);
  EXPECT_EQ(to_json(*back)["processes"][2]["memory"]["mappings"][1]["start"], 0x20000);  // for people: all
}

TEST(Manifest, MappingsThatAreNotThereAreRefused) {
  auto error = [](const std::string& from, const std::string& to) {
    auto content = write_manifest(example());
    const auto begin = content.find("\"mappings\": ") + 12, end = content.rfind('}');
    content = content.substr(begin, end - begin);
    content.replace(content.find(from), from.size(), to);
    return error_of(sealed(content));
  };
  const std::string list = "\"mappings\":[0]";
  EXPECT_EQ(error(list, list), "no error");
  const std::string place = "processes[0].memory.mappings[0]: ";
  EXPECT_EQ(error(list, "\"mappings\":[1]"), place + "the document holds no such value");
  EXPECT_EQ(error(list, "\"mappings\":[-1]"), place + "out of range");
  EXPECT_EQ(error(list, "\"mappings\":[18446744073709551615]"), place + "the document holds no such value");
  EXPECT_EQ(error(list, "\"mappings\":[{}]"), place + "not a whole number");
  EXPECT_EQ(error(list, "\"mappings\":[0,0]"),
            "process 100: the mapping at 0x10000 is out of order or out of bounds");
  EXPECT_EQ(error("\"start\":65536", "\"start\":-1"), "mappings: [0].start: out of range");
  EXPECT_EQ(error("\"start\":65536", "\"begin\":65536"),
            "mappings: [0]: has a field 'begin' that this version does not know");
  EXPECT_EQ(error_of(sealed("1,\n\"snapshot\": {}")), "mappings: not a list");
}

TEST(Manifest, KindsAreWrittenByNameAndOthersAreRefused) {
  const auto text = write_manifest(example());
  for (const char* kind : {R"("kind":"epoll")", R"("kind":"segment")", R"("kind":"POSIX")"})
    EXPECT_THAT(text, HasSubstr(kind));
  EXPECT_EQ(error_of(altered([](auto& j) { j["files"][0]["kind"] = "pathh"; })),
            "files[0].kind: 'pathh' is none of the names that this version knows");
  EXPECT_EQ(error_of(altered([](auto& j) { j["files"][0]["kind"] = 1; })), "files[0].kind: not a string");
}

TEST(Manifest, AFieldThatIsThereTwiceIsRefused) {
  EXPECT_EQ(decode<Clocks>(R"({"realtime":1,"monotonic":2,"boottime":3,"monotonic":4})").error().message(),
            "has a field twice");
}

TEST(Manifest, WhatIsZeroNeedNotBeWritten) {
  EXPECT_EQ(write_manifest(example()).find("\"io_priority\":0"), std::string::npos);
  EXPECT_EQ(error_of(altered([](auto&) {})), "no error");  // with all of it
  auto without_tid = error_of(altered([](auto& j) { j["processes"][0]["threads"][0].erase("tid"); }));
  EXPECT_THAT(without_tid, HasSubstr("not its leader"));
}

TEST(Manifest, ContradictionsAreRefused) {
  auto error = [](const std::function<void(Snapshot&)>& change) {
    auto snapshot = example();
    change(snapshot);
    return error_of(write_manifest(snapshot));
  };
  EXPECT_EQ(error([](auto&) {}), "no error");
  EXPECT_THAT(error([](auto& s) { s.processes.clear(); }), HasSubstr("no process"));
  EXPECT_THAT(error([](auto& s) { s.processes[1].pid = 101; }), HasSubstr("used twice"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].pid = 1; }), HasSubstr("impossible"));
  for (const std::int32_t id : {-1, 0, 1, 4'194'304}) {
    EXPECT_THAT(error([id](auto& s) { s.processes[1].pgrp = id; }), HasSubstr("impossible")) << id;
    EXPECT_THAT(error([id](auto& s) { s.processes[1].session = id; }), HasSubstr("impossible")) << id;
    EXPECT_THAT(error([id](auto& s) { s.processes[0].threads[1].tid = id; }), HasSubstr("or none")) << id;
  }
  EXPECT_THAT(error([](auto& s) { s.processes[1].pgrp = 101; }), HasSubstr("a thread leads"));
  EXPECT_THAT(error([](auto& s) { s.processes[1].session = 101; }), HasSubstr("a thread leads"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].threads[0].tid = 99; }), HasSubstr("not its leader"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].stopped->stop_signal = 19; }),
              HasSubstr("does not stop it"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].job_stopped = true; }), HasSubstr("does not stop it"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].threads.clear(); }), HasSubstr("not its leader"));
  EXPECT_THAT(error([](auto& s) { std::swap(s.processes[0], s.processes[1]); }),
              HasSubstr("before its parent"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].descriptors[1].file = 3; }), HasSubstr("leads to no file"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].descriptors[1].fd = -1; }), HasSubstr("out of order"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].descriptors[1].fd = INT32_MAX; }), HasSubstr("too high"));
  EXPECT_THAT(error([](auto& s) { s.processes[1].exit_status = 100; }), HasSubstr("no process ends"));
  EXPECT_THAT(error([](auto& s) { s.files[1].epoll->watches[0].file = 9; }), HasSubstr("not there"));
  EXPECT_THAT(error([](auto& s) { s.files[0].path.reset(); }), HasSubstr("says nothing"));
  EXPECT_THAT(error([](auto& s) { s.files[0].position = -1; }), HasSubstr("negative"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].memory.mappings[0].start = 0x10001; }),
              HasSubstr("aligned"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].memory.mappings[0].end = 0x10000; }),
              HasSubstr("out of bounds"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].memory.mappings[0].end = 1ULL << 62U; }),
              HasSubstr("out of bounds"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].memory.pages[0].count = ~0ULL / 4096; }),
              HasSubstr("out of bounds"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].memory.pages[0].count = 4; }),
              HasSubstr("no private mapping"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].memory.pages[0].address = 0; }),
              HasSubstr("no private mapping"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].memory.mappings[0].shared = true; }),
              HasSubstr("no private mapping"));
  EXPECT_THAT(error([](auto& s) { s.kept_files[0].size = 4096; }), HasSubstr("out of bounds"));
  EXPECT_THAT(error([](auto& s) { s.kept_files[0].segment.reset(); }), HasSubstr("says nothing"));
  EXPECT_THAT(error([](auto& s) { s.kept_files.push_back(s.kept_files[0]); }), HasSubstr("listed twice"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].memory.guards[0].end = 0x13001; }),
              HasSubstr("out of bounds"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].memory.executable_inode = 5; }), HasSubstr("not part of"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].locks[0].lock.start = ~0ULL; }), HasSubstr("out of bounds"));
  EXPECT_THAT(error([](auto& s) {
                s.processes[0].memory.pages.clear();
                s.processes[0].memory.mappings[0].kind = MappingKind::memfd;
              }),
              HasSubstr("not part of"));
  EXPECT_THAT(error([](auto& s) { s.files[0].kind = FileKind::kept; }), HasSubstr("not part of"));
  EXPECT_THAT(error([](auto& s) { s.files[2].socket->journal->unit = "a\nb"; }), HasSubstr("not a line"));
  EXPECT_THAT(error([](auto& s) { s.files[2].socket->journal->identifier = std::string(255, 'a'); }),
              HasSubstr("not a line"));
  EXPECT_THAT(error([](auto& s) { s.files[2].socket->journal->priority = 1000; }), HasSubstr("priority"));
  EXPECT_THAT(error([](auto& s) { s.files[2].socket->type = 2; }), HasSubstr("no stream to journald"));
  EXPECT_THAT(error([](auto& s) { s.files[2].socket->remote.data.back() = 'x'; }),
              HasSubstr("no stream to journald"));
}

TEST(Manifest, ImpossiblePagesAndKeysAreRefused) {
  auto error = [](const std::function<void(Snapshot&)>& change) {
    auto snapshot = example();
    change(snapshot);
    return error_of(write_manifest(snapshot));
  };
  for (const std::uint64_t size : {1ULL, 4096ULL, 3ULL << 20U, 1ULL << 31U, 1ULL << 63U}) {
    EXPECT_THAT(error([size](auto& s) { s.processes[0].memory.mappings[0].huge_page = size; }),
                HasSubstr("does not consist of huge pages"))
        << size;
    EXPECT_THAT(error([size](auto& s) { s.kept_files[0].huge_page = size; }), HasSubstr("no pages are of"))
        << size;
  }
  EXPECT_THAT(error([](auto& s) { s.processes[0].memory.mappings[0].huge_page = 1U << 20U; }),
              HasSubstr("does not consist of huge pages"));
  EXPECT_EQ(error([](auto& s) { s.processes[0].memory.mappings[0].huge_page = 16U << 10U; }), "no error");
  EXPECT_EQ(error([](auto& s) { s.kept_files[0].huge_page = 2U << 20U; }), "no error");
  EXPECT_THAT(error([](auto& s) { s.processes[0].memory.protection_keys = 1U << 16U; }),
              HasSubstr("no more than"));
  for (const std::uint32_t key : {1U, 16U, ~0U}) {
    EXPECT_THAT(error([key](auto& s) { s.processes[0].memory.mappings[0].protection_key = key; }),
                HasSubstr("protection key"))
        << key;
  }
  EXPECT_EQ(error([](auto& s) {
              s.processes[0].memory.protection_keys = 5;
              s.processes[0].memory.mappings[0].protection_key = 2;
            }),
            "no error");
}

TEST(Manifest, ImpossibleMessageQueuesAreRefused) {
  auto error = [](const std::function<void(Snapshot&)>& change) {
    auto snapshot = example();
    snapshot.posix_queues = {{"/name", 1, 2, false, 0600, 0, 0, 10, 8192}};
    change(snapshot);
    return error_of(write_manifest(snapshot));
  };
  EXPECT_EQ(error([](auto&) {}), "no error");
  for (const char* name : {"", "/", "name", "/a/b", "/.", "/.."})
    EXPECT_THAT(error([name](auto& s) { s.posix_queues[0].name = name; }),
                HasSubstr("no name of a message queue"));
  EXPECT_THAT(error([](auto& s) { s.posix_queues[0].name = std::string("/a\0b", 4); }),
              HasSubstr("no name of a message queue"));
  for (const std::int64_t count : {-1, 0, 65537})
    EXPECT_THAT(error([count](auto& s) { s.posix_queues[0].most_messages = count; }),
                HasSubstr("impossible"));
  for (const std::int64_t size : {-1, 0, (16 << 20) + 1})
    EXPECT_THAT(error([size](auto& s) { s.posix_queues[0].message_size = size; }), HasSubstr("impossible"));
  EXPECT_THAT(error([](auto& s) { s.posix_queues.push_back(s.posix_queues[0]); }), HasSubstr("impossible"));
  EXPECT_THAT(error([](auto& s) { s.files[0].kind = FileKind::mqueue; }),
              HasSubstr("not part of the snapshot"));
  EXPECT_THAT(error([](auto& s) {
                s.files[0].kind = FileKind::mqueue;
                s.files[0].path.reset();
              }),
              HasSubstr("says nothing"));
}

TEST(Manifest, ImpossibleRingsAreRefused) {
  auto error = [](const std::function<void(Snapshot&)>& change) {
    auto snapshot = example();
    auto& file = snapshot.files.emplace_back();
    file.kind = FileKind::io_uring;
    auto& ring = file.io_uring.emplace();
    ring.inode = 9, ring.flags = 0;
    ring.sq_entries = 4, ring.cq_entries = 8;
    ring.sq_head = ring.cq_tail = 12;
    ring.places = {0, 4, 16, 24, 36, 32, 192, 8, 12, 20, 28, 44, 64, 40};
    ring.rings.data.resize(4096);
    ring.entries.data.resize(4096);
    change(snapshot);
    return error_of(write_manifest(snapshot));
  };
  auto ring = [&](const std::function<void(IoUring&)>& change) {
    return error([&](Snapshot& s) { change(*s.files.back().io_uring); });
  };
  EXPECT_EQ(error([](auto&) {}), "no error");
  EXPECT_THAT(error([](auto& s) { s.files.back().io_uring.reset(); }), HasSubstr("says nothing"));
  for (const std::uint32_t entries : {0U, 3U, 1U << 16U})
    EXPECT_THAT(ring([=](auto& r) { r.sq_entries = entries; }), HasSubstr("entries")) << entries;
  EXPECT_THAT(ring([](auto& r) { r.cq_entries = 1U << 17U; }), HasSubstr("entries"));
  EXPECT_THAT(ring([](auto& r) { r.places.pop_back(); }), HasSubstr("unknown form"));
  EXPECT_THAT(ring([](auto& r) { r.places[8] = 4096; }), HasSubstr("outside of it"));
  EXPECT_THAT(ring([](auto& r) { r.places[7] = 1; }), HasSubstr("outside of it"));
  EXPECT_THAT(ring([](auto& r) { r.cq_entries = 256; }), HasSubstr("outside of it"));
  EXPECT_THAT(ring([](auto& r) { r.rings.data.resize(4095); }), HasSubstr("bytes"));
  EXPECT_THAT(ring([](auto& r) { r.sq_entries = 128; }), HasSubstr("bytes"));
  EXPECT_THAT(ring([](auto& r) { r.cq_tail = 13; }), HasSubstr("completions"));
  EXPECT_THAT(ring([](auto& r) { r.sq_head = ~0U; }), HasSubstr("requests"));
  EXPECT_THAT(error([](auto& s) {
                s.processes[0].memory.pages.clear();
                s.processes[0].memory.mappings[0].kind = MappingKind::io_uring;
                s.processes[0].memory.mappings[0].shared = true;
                s.processes[0].memory.mappings[0].inode = 8;
              }),
              HasSubstr("ring mapped at"));
}

TEST(Manifest, IdentitiesThatLeadNowhereAreRefused) {
  auto error = [](const std::function<void(Snapshot&)>& change) {
    auto snapshot = example();
    change(snapshot);
    return error_of(write_manifest(snapshot));
  };
  EXPECT_THAT(error([](auto& s) { s.processes[0].threads[0].seccomp.filters = {1}; }),
              HasSubstr("a filter is not there"));
  EXPECT_THAT(error([](auto& s) { s.seccomp_filters[0].instructions.data.pop_back(); }),
              HasSubstr("seccomp filter of 7 bytes"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].stopped->keyring = 1; }),
              HasSubstr("its keyring is not there"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].namespaces = 1; }),
              HasSubstr("its namespaces are not there"));
  auto mounts = [&](const std::function<void(std::vector<Mount>&)>& change) {
    return error([&](Snapshot& s) { change(s.namespaces[0].mounts); });
  };
  EXPECT_THAT(mounts([](auto& m) { m[1].id = 5; }), HasSubstr("used twice"));
  EXPECT_THAT(mounts([](auto& m) { m[1].parent = 7; }), HasSubstr("nothing is below it"));
  EXPECT_THAT(mounts([](auto& m) { m[0].parent = 6; }), HasSubstr("no root"));
  EXPECT_THAT(mounts([](auto& m) { m[1].mount_point = "/dev/../etc"; }), HasSubstr("leads out of its place"));
  EXPECT_THAT(mounts([](auto& m) { m[1].contents[1].path = "/../x"; }), HasSubstr("a file outside of it"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].inner_pids = {1}; }), HasSubstr("contradict each other"));
  EXPECT_THAT(error([](auto& s) { s.processes[0].pid_namespace = 1; }), HasSubstr("contradict each other"));
  EXPECT_THAT(error([](auto& s) {
                auto& process = s.processes[0];
                process.pid_namespace = 1;
                process.inner_pids = process.inner_pgrps = process.inner_sessions = {-1};
                for (auto& thread : process.threads) thread.inner_tids = {-1};
              }),
              HasSubstr("impossible IDs"));
  auto namespaces = [&](const std::function<void(std::vector<Namespaces>&)>& change) {
    return error([&](Snapshot& s) { change(s.namespaces); });
  };
  for (const auto& change : std::vector<std::function<void(Namespaces&)>>{
           [](auto& n) { n.time.reset(); }, [](auto& n) { n.numbers.uts = 0; },
           [](auto& n) { n.mounts.clear(); }, [](auto& n) { n.network.clear(); },
           [](auto& n) { n.cgroup_roots.clear(); }})
    EXPECT_THAT(namespaces([&](auto& all) { change(all[0]); }), HasSubstr("is not told"));
  EXPECT_THAT(namespaces([](auto& all) { all.push_back(all[0]); }), HasSubstr("is not told"));
  EXPECT_THAT(namespaces([](auto& all) { all[0].cgroup_roots[0].path = "/../x"; }), HasSubstr("leads out"));
  EXPECT_THAT(namespaces([](auto& all) { all[0].time->monotonic = INT64_MIN; }), HasSubstr("impossible"));
}

}  // namespace
}  // namespace upkeep::engine
