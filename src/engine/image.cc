#include "engine/image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "engine/inspect/inspect.h"
#include "engine/inspect/memory/ahead.h"
#include "engine/inspect/namespaces/network.h"
#include "engine/model/snapshot.h"
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

Result<ImageWriter> ImageWriter::create(const std::string& directory) {
  remove_image(directory);
  TRY_ASSIGN(auto pages, os::open_file(directory + kPages, O_WRONLY | O_CREAT | O_EXCL, 0600));
  return ImageWriter(directory, std::move(pages));
}

ImageWriter::ImageWriter(std::string directory, os::UniqueFd pages)
    : directory_(std::move(directory)), pages_(std::move(pages)), ahead_(std::make_unique<PagesAhead>()) {}
ImageWriter::ImageWriter(ImageWriter&&) noexcept = default;
ImageWriter::~ImageWriter() = default;

Result<std::uint64_t> ImageWriter::add(std::span<const std::byte> bytes) {
  TRY(os::write_all(pages_, bytes));
  return std::exchange(size_, size_ + bytes.size());
}

Result<std::uint64_t> ImageWriter::copy_ahead(pid_t pid) {
  return ahead_->copy(pid, [this](auto bytes) { return add(bytes); });
}

Result<Snapshot> ImageWriter::write(const StoppedTree& tree, Durability durability) {
  InspectRequest request;
  request.pages.sink = [this](auto bytes) { return add(bytes); };
  request.pages.ahead = ahead_.get();
  const auto networks = HeldNetworks::hold(tree);
  TRY_ASSIGN(auto snapshot, inspect(tree, request));
  TRY(refuse_obstacles(snapshot));
  TRY(networks.check_held(snapshot));
  if (durability == Durability::on_disk && ::fsync(pages_.get()) < 0) return ErrnoErr("fsync");
  TRY(os::replace_file(directory_ + kManifest, write_manifest(snapshot), 0600));
  return snapshot;
}

bool holds_image(const std::string& directory) { return os::exists(directory + kManifest); }

void remove_image(const std::string& directory) {
  ::unlink((directory + kManifest).c_str());
  ::unlink((directory + kPages).c_str());
}

std::string pages_of(const std::string& directory) { return directory + kPages; }

Result<Snapshot> load_image(const std::string& directory) {
  for (const auto& path : {directory, directory + kManifest, directory + kPages}) TRY(belongs_to_root(path));
  TRY_ASSIGN(auto text, os::read_file(directory + kManifest));
  auto snapshot = read_manifest(std::move(text));
  if (!snapshot) return tl::unexpected(std::move(snapshot).error().in(directory + kManifest));
  struct stat status = {};
  if (::stat((directory + kPages).c_str(), &status) < 0) return ErrnoErr("{}{}", directory, kPages);
  if (static_cast<std::uint64_t>(status.st_size) < page_bytes(*snapshot))
    return Err("{}{}: {} bytes, where the manifest speaks of {}", directory, kPages, status.st_size,
               page_bytes(*snapshot));
  return snapshot;
}

}  // namespace upkeep::engine
