#include "common/listed.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {
namespace {

// Calls validate() of each value that has one: of the value itself, then of what is in it.
struct Validation {
  const KnownObjects& known;
  Result<void> result = {};

  template <typename T>
  void operator()(const char*, const T& field) {
    visit(field);
  }
  template <typename T>
  void visit(const T& value) {
    if (!result) return;
    if constexpr (requires { validate(value, known); }) {
      result = validate(value, known);
      if (!result) return;
    }
    if constexpr (is_optional<T>) {
      if (value) visit(*value);
    } else if constexpr (is_vector<T> || is_array<T>) {
      if constexpr (Listed<typename T::value_type>) visit_elements(value);
    } else if constexpr (Listed<T>) {
      T::fields(value, *this);
    }
  }
  void visit_elements(const auto& values) {
    std::size_t i = 0;
    for (const auto& value : values) {
      visit(value);
      if constexpr (requires { title_of(value, i); }) {
        if (!result) result = tl::unexpected(std::move(result).error().in(title_of(value, i)));
      }
      if (!result) return;
      ++i;
    }
  }
};

KnownObjects known_in(const Snapshot& snapshot) {
  KnownObjects known;
  known.files = snapshot.files.size();
  known.namespaces = snapshot.namespaces.size();
  known.keyrings = snapshot.keyrings.size();
  known.seccomp_filters = snapshot.seccomp_filters.size();
  for (const auto& process : snapshot.processes) {
    known.processes.insert(process.pid);
    known.tasks.insert(process.pid);
    for (const auto& thread : process.threads) known.tasks.insert(thread.tid);
  }
  for (const auto& kept : snapshot.kept_files) known.kept_files.emplace(kept.device, kept.inode);
  for (const auto& queue : snapshot.posix_queues) known.posix_queues.emplace(queue.device, queue.inode);
  for (const auto& terminal : snapshot.terminals) known.terminals.emplace(terminal.device, terminal.pseudo);
  for (const auto& file : snapshot.files) {
    if (file.io_uring) known.rings.insert(file.io_uring->inode);
  }
  return known;
}

}  // namespace

Result<void> validate(const Snapshot& snapshot) {
  constexpr std::int64_t kLatest = std::int64_t{1} << 62U;
  for (const auto clock : {snapshot.clocks.monotonic, snapshot.clocks.boottime}) {
    if (clock < 0 || clock > kLatest) return Err("its clocks show an impossible time");
  }
  if (snapshot.processes.empty()) return Err("there is no process in it");
  const auto known = known_in(snapshot);
  Validation validation{known};
  validation.visit(snapshot);
  return std::move(validation.result);
}

}  // namespace upkeep::engine
