#include "engine/image.h"

#include "engine/inspect/namespaces/network.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "os/file.h"

namespace upkeep::engine {
namespace {

constexpr const char* kManifest = "/manifest.json";
constexpr const char* kPages = "/pages";

// Whoever can write a manifest can run anything as anybody.
Result<void> belongs_to_root(const std::string& path) {
  struct stat status = {};
  if (::lstat(path.c_str(), &status) < 0) return ErrnoErr("{}", path);
  if (status.st_uid != 0 || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0 || S_ISLNK(status.st_mode))
    return Err("{} does not belong to root alone: it is not read", path);
  return {};
}

// How much of the file of pages the manifest speaks of.
std::uint64_t page_bytes(const Snapshot& snapshot) {
  std::uint64_t end = 0;
  auto reach = [&end](const std::vector<PageRun>& runs) {
    for (const auto& run : runs) end = std::max(end, run.position + run.count * kPage);
  };
  for (const auto& process : snapshot.processes) reach(process.memory.pages);
  for (const auto& kept : snapshot.kept_files) reach(kept.pages);
  return end;
}

}  // namespace

Result<void> refuse_obstacles(const Snapshot& snapshot) {
  if (snapshot.obstacles.empty()) return {};
  std::string text;
  for (const auto& obstacle : snapshot.obstacles) {
    text += fmt::format("\n  process {}, {}: {}", obstacle.pid, obstacle.what, obstacle.why);
    if (!obstacle.remedy.empty()) text += fmt::format(" ({})", obstacle.remedy);
  }
  return Err("cannot be carried:{}", text);
}

Result<ImageWriter> ImageWriter::create(const std::string& folder) {
  TRY_ASSIGN(auto pages, os::open_file(folder + kPages, O_WRONLY | O_CREAT | O_EXCL, 0600));
  return ImageWriter(folder, std::move(pages));
}

PageSink ImageWriter::sink() {
  return [this](std::span<const std::byte> bytes) -> Result<std::uint64_t> {
    TRY(os::write_all(pages_, bytes));
    return std::exchange(size_, size_ + bytes.size());
  };
}

Result<Snapshot> ImageWriter::write(const StoppedTree& tree, bool durable) {
  InspectRequest request;
  request.sink = sink();
  request.ahead = &ahead_;
  const auto networks = HeldNetworks::hold(tree);
  TRY_ASSIGN(auto snapshot, inspect(tree, request));
  TRY(refuse_obstacles(snapshot));
  TRY(networks.check_held(snapshot));
  if (durable && ::fsync(pages_.get()) < 0) return ErrnoErr("fsync");
  TRY(os::replace_file(folder_ + kManifest, write_manifest(snapshot), 0600));
  return snapshot;
}

bool holds_image(const std::string& folder) { return os::exists(folder + kManifest); }

void remove_image(const std::string& folder) {
  ::unlink((folder + kManifest).c_str());
  ::unlink((folder + kPages).c_str());
}

std::string pages_of(const std::string& folder) { return folder + kPages; }

Result<Snapshot> load_image(const std::string& folder) {
  for (const auto& path : {folder, folder + kManifest, folder + kPages}) TRY(belongs_to_root(path));
  TRY_ASSIGN(auto text, os::read_file(folder + kManifest));
  auto snapshot = read_manifest(std::move(text));
  if (!snapshot) return tl::unexpected(std::move(snapshot).error().in(folder + kManifest));
  struct stat status = {};
  if (::stat((folder + kPages).c_str(), &status) < 0) return ErrnoErr("{}{}", folder, kPages);
  if (static_cast<std::uint64_t>(status.st_size) < page_bytes(*snapshot))
    return Err("{}{}: {} bytes, where the manifest speaks of {}", folder, kPages, status.st_size,
               page_bytes(*snapshot));
  return snapshot;
}

}  // namespace upkeep::engine
