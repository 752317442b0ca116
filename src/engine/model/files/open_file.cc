#include "engine/model/files/open_file.h"

#include <set>
#include <utility>

#include "common/listed.h"

namespace upkeep::engine {
namespace {

// What a kind has to say about itself is in the field of its name, where there is one.
struct OwnDetails {
  std::string_view kind;
  bool missing = false;
  template <typename T>
  void operator()(const char* name, const T& value) {
    if constexpr (is_optional<T>) missing = missing || (kind == name && !value);
  }
};

bool has_details(const OpenFile& file) {
  OwnDetails own{name_of(file.kind)};
  OpenFile::fields(file, own);
  const bool needs_path =
      file.kind == FileKind::kept || file.kind == FileKind::mqueue || file.kind == FileKind::fifo;
  return !own.missing && (!needs_path || file.path) && (file.kind != FileKind::fifo || file.pipe);
}

}  // namespace

Result<void> validate(const std::vector<OpenFile>& files, const KnownObjects&) {
  std::set<std::uint64_t> masters;
  for (const auto& file : files) {
    if (!file.terminal || file.terminal->device == 0 || !file.terminal->master) continue;
    if (!masters.insert(file.terminal->device).second)
      return Err("{}: its terminal cannot have two masters", file.name);
  }
  return {};
}

Result<void> validate(const OpenFile& file, const KnownObjects& known) {
  if (!has_details(file)) return Err("it says nothing about its {}", name_of(file.kind));
  if (file.position < 0) return Err("its position is negative");
  const auto identity = file.path ? std::pair(file.path->device, file.path->inode) : std::pair(0UL, 0UL);
  if (file.kind == FileKind::kept && !known.kept_files.contains(identity))
    return Err("{}: its contents are not part of the snapshot", file.name);
  if (file.kind == FileKind::mqueue && !known.posix_queues.contains(identity))
    return Err("{}: its message queue is not part of the snapshot", file.name);
  return {};
}

void make_comparable(OpenFile& value, const OpenFile*, Comparison& comparison) {
  if (value.kind != FileKind::path) value.name.clear();
  if (!value.path) return;
  auto& path = *value.path;
  if (value.kind == FileKind::mqueue) path.path.clear();  // its queue has a name, or has none any more
  if (value.kind == FileKind::kept) comparison.kept_files.forget(path.path, path.device, path.inode);
  forget_volatile_inode(path.device, path.inode);
}

}  // namespace upkeep::engine
