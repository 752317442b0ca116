#pragma once
// Everything that is known about trees of tasks but the contents of their pages.
//
// A new kind of object is WING/OBJECT.{h,cc} here, beside inspect/WING/OBJECT and rebuild/WING/OBJECT: a struct with
// operator== and a list of its fields (common/listed.h), and, declared behind it where it needs them:
//
//   Result<void> validate(const Object&, const KnownObjects&);                      // document/validation.h
//   void make_comparable(Object&, const Object* other, Comparison&);         // document/comparison.h
//   std::string title_of(const Object&, std::size_t index);                  // in lists: what errors begin with
//
// Both are found by their argument, wherever the object is a field, an element, or the value of an optional field;
// those of an object are called before those of its fields. For std::vector<Object> there may be such functions too,
// which see all elements. A field of OpenFile that is called as its FileKind is (and must be there for files of that
// kind), or a list in Snapshot, is all that is left to do. Wings may include from those below them: task, files,
// sockets, namespaces, memory, document.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "engine/model/files/ipc_objects.h"
#include "engine/model/files/kept_files.h"
#include "engine/model/files/open_file.h"
#include "engine/model/files/posix_queues.h"
#include "engine/model/files/terminal.h"
#include "engine/model/namespaces/namespaces.h"
#include "engine/model/task/process_index.h"
#include "engine/model/task/task.h"

namespace upkeep::engine {

// In nanoseconds, as the tasks see them (time_namespaces(7)), when all had stopped.
struct Clocks {
  std::int64_t realtime = 0, monotonic = 0, boottime = 0;
  bool operator==(const Clocks&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("realtime", self.realtime);
    visit("monotonic", self.monotonic);
    visit("boottime", self.boottime);
  }
};

// What cannot be rebuilt, or is not understood: with the task, the object, and the reason.
struct Obstacle {
  std::int32_t pid = 0;
  std::string what;    // "descriptor 7 (anon_inode:[io_uring])"
  std::string why;     // "requests in flight cannot be read"
  std::string remedy;  // may be empty
  bool operator==(const Obstacle&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("pid", self.pid);
    visit("what", self.what);
    visit("why", self.why);
    visit("remedy", self.remedy);
  }
};

struct Snapshot {
  std::string kernel;  // uname -r
  Bytes vdso;          // the code that this kernel maps as [vdso], vdso(7); none where it has none
  std::string boot;    // /proc/sys/kernel/random/boot_id: another one after every boot
  Clocks clocks;
  std::vector<Process> processes;  // parents before children
  std::vector<OpenFile> files;
  std::vector<KeptFile> kept_files;
  std::vector<SemaphoreSet> semaphore_sets;  // of the IPC namespace that we are in ourselves
  std::vector<MessageQueue> message_queues;  // likewise
  std::vector<PosixQueue> posix_queues;      // likewise
  std::vector<SeccompFilter> seccomp_filters;
  std::vector<Keyring> keyrings;
  std::vector<Namespaces> namespaces;
  std::vector<Terminal> terminals;
  std::vector<Obstacle> obstacles;
  std::vector<Obstacle> losses;  // what is not carried either, and whoever is concerned is prepared for
  ProcessIndex index;            // of `processes`; not part of the model

  const Process* find(std::int32_t pid) const { return index.find(processes, pid); }
  const Terminal* find_terminal(std::uint64_t device) const;
  const KeptFile* kept_file(std::uint64_t device, std::uint64_t inode) const;
  std::vector<std::int32_t> roots() const;  // those whose parents are not here
  std::set<std::uint64_t> socket_inodes() const;
  bool operator==(const Snapshot&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("kernel", self.kernel);
    visit("vdso", self.vdso);
    visit("boot", self.boot);
    visit("clocks", self.clocks);
    visit("processes", self.processes);
    visit("files", self.files);
    visit("kept_files", self.kept_files);
    visit("semaphore_sets", self.semaphore_sets);
    visit("message_queues", self.message_queues);
    visit("posix_queues", self.posix_queues);
    visit("seccomp_filters", self.seccomp_filters);
    visit("keyrings", self.keyrings);
    visit("namespaces", self.namespaces);
    visit("terminals", self.terminals);
    visit("obstacles", self.obstacles);
    visit("losses", self.losses);
  }
};

// The form that crosses kernels and versions of upkeep: one JSON document with its format's name, version and
// a checksum; mappings are a list of their own, each of those that are equal once, and processes have numbers
// in that list. Reading refuses, with one error each: what is no such document, another version, one that was
// cut short or altered, fields that are wrong, and contents that contradict each other (validate()).
inline constexpr int kFormatVersion = 4;
std::string write_manifest(const Snapshot& snapshot);
Result<Snapshot> read_manifest(std::string text);
nlohmann::json to_json(const Snapshot& snapshot);

// What every later step relies on: unique IDs, parents before children, indices within bounds, addresses that
// are page-aligned and in user space, mappings and pages in order.
Result<void> validate(const Snapshot& snapshot);

// SNAPSHOT without what cannot be the same in OTHER, which was read from the tasks that were made of it, or the other
// way round: times that have gone by, inode numbers, numbers of namespaces, where in the file pages lie, parents of
// roots.
Snapshot comparable(Snapshot snapshot, const Snapshot& other);

// 64 bits, against accidents only (XXH64).
std::uint64_t checksum(std::string_view bytes);
std::uint64_t checksum(const Bytes& bytes);

}  // namespace upkeep::engine
