#include "common/listed.h"
#include "engine/model/snapshot.h"

namespace upkeep::engine {
namespace {

// Calls make_comparable() of each value that has one: of the value itself, then of what is in it. OTHER is what is
// at the same place in the other snapshot; null: nothing.
struct Comparable {
  Comparison& comparison;

  template <typename T>
  void visit(T& value, const T* other) {
    if constexpr (requires { make_comparable(value, other, comparison); })
      make_comparable(value, other, comparison);
    if constexpr (is_optional<T>) {
      if (value) visit(*value, other != nullptr && *other ? &**other : nullptr);
    } else if constexpr (is_vector<T> || is_array<T>) {
      if constexpr (Listed<typename T::value_type>) visit_elements(value, other);
    } else if constexpr (Listed<T>) {
      auto visit_field = [&](const char*, auto& field) { visit(field, same_field(value, field, other)); };
      T::fields(value, visit_field);
    }
  }

 private:
  // The field of OTHER that lies where FIELD lies in VALUE.
  template <typename T, typename Field>
  static const Field* same_field(const T& value, const Field& field, const T* other) {
    if (other == nullptr) return nullptr;
    const auto at = reinterpret_cast<const char*>(&field) - reinterpret_cast<const char*>(&value);
    return reinterpret_cast<const Field*>(reinterpret_cast<const char*>(other) + at);
  }

  template <typename List>
  void visit_elements(List& values, const List* others) {
    for (std::size_t i = 0; i < values.size(); ++i) visit(values[i], counterpart(values[i], i, others));
  }
  template <typename List>
  static const typename List::value_type* counterpart(const typename List::value_type& value, std::size_t i,
                                                      const List* others) {
    if constexpr (std::same_as<typename List::value_type, Process>) {
      if (others == nullptr || (i < others->size() && (*others)[i].pid == value.pid))
        return others == nullptr ? nullptr : &(*others)[i];
      const auto is_it = [&](const Process& process) { return process.pid == value.pid; };
      const auto found = std::find_if(others->begin(), others->end(), is_it);
      return found == others->end() ? nullptr : &*found;
    } else {
      return others != nullptr && i < others->size() ? &(*others)[i] : nullptr;
    }
  }
};

// What is not compared at all.
void forget_whole_lists(Snapshot& snapshot) {
  snapshot.clocks = {};
  snapshot.kernel.clear();
  snapshot.boot.clear();
  snapshot.obstacles.clear();
  snapshot.losses.clear();
  snapshot.semaphore_sets.clear();  // of the whole machine: they are not looked at again
  snapshot.message_queues.clear();
}

Comparison begin_comparison(Snapshot& snapshot) {
  Comparison comparison;
  for (const auto& process : snapshot.processes) {
    comparison.tasks.insert(process.pid);
    for (const auto& thread : process.threads) comparison.tasks.insert(thread.tid);
  }
  comparison.sockets_here = snapshot.socket_inodes();
  for (const auto& file : snapshot.files) {
    if (file.kind == FileKind::mqueue && file.path)
      comparison.posix_queues_open.emplace(file.path->device, file.path->inode);
  }
  comparison.keyrings = forget_serials(snapshot.keyrings);
  return comparison;
}

}  // namespace

Snapshot comparable(Snapshot snapshot, const Snapshot& other) {
  forget_whole_lists(snapshot);
  auto comparison = begin_comparison(snapshot);
  Comparable{comparison}.visit(snapshot, &other);
  return snapshot;
}

}  // namespace upkeep::engine
