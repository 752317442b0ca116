#pragma once
// A snapshot as files in a directory: manifest.json, and the contents of pages beside it. On disk for
// `upkeep snapshot`, in memory where it crosses to another kernel.

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "common/result.h"
#include "os/fd.h"

namespace upkeep::engine {

class PagesAhead;
class StoppedTree;
struct Snapshot;

enum class Durability {
  in_memory,  // whoever writes it knows how it goes on
  on_disk,    // before write() returns
};

class ImageWriter {
 public:
  // In DIRECTORY, which is there; an image that is in it is removed first. What a failed write leaves there
  // remove_image() takes away.
  static Result<ImageWriter> create(const std::string& directory);
  ImageWriter(ImageWriter&&) noexcept;
  ImageWriter& operator=(ImageWriter&&) = delete;
  ~ImageWriter();

  // Contents of pages of running tasks, to be used by write() where they have not changed since.
  Result<std::uint64_t> copy_ahead(pid_t pid);
  // Reads what stands still. Obstacles are an error that names them all.
  Result<Snapshot> write(const StoppedTree& tree, Durability durability);
  std::uint64_t page_bytes() const { return size_; }

 private:
  ImageWriter(std::string directory, os::UniqueFd pages);
  Result<std::uint64_t> add(std::span<const std::byte> bytes);  // returns where it is found again
  std::string directory_;
  os::UniqueFd pages_;
  std::unique_ptr<PagesAhead> ahead_;
  std::uint64_t size_ = 0;
};

bool holds_image(const std::string& directory);
void remove_image(const std::string& directory);
std::string pages_of(const std::string& directory);  // path of the page contents

// Refuses what others than root could have written, what was cut short or altered.
Result<Snapshot> load_image(const std::string& directory);

// The error names all of them; none: success.
Result<void> refuse_obstacles(const Snapshot& snapshot);

}  // namespace upkeep::engine
