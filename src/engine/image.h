#pragma once
// A snapshot as files in a folder: manifest.json, and the contents of pages beside it. On disk for
// `upkeep snapshot`, in memory where it crosses to another kernel.

#include <cstdint>
#include <string>

#include "common/result.h"
#include "engine/inspect/inspect.h"
#include "engine/inspect/memory/ahead.h"
#include "engine/model/snapshot.h"
#include "os/fd.h"

namespace upkeep::engine {

class ImageWriter {
 public:
  // In FOLDER, which is there and holds no image. What a failed write leaves there remove_image() takes away.
  static Result<ImageWriter> create(const std::string& folder);

  // Contents of pages of running tasks, to be used by write() where they have not changed since.
  Result<std::uint64_t> copy_ahead(pid_t pid) { return ahead_.copy(pid, sink()); }
  // Reads what stands still. Obstacles are an error that names them all. DURABLE: on disk before this
  // returns.
  Result<Snapshot> write(const StoppedTree& tree, bool durable);
  std::uint64_t page_bytes() const { return size_; }

 private:
  ImageWriter(std::string folder, os::UniqueFd pages)
      : folder_(std::move(folder)), pages_(std::move(pages)) {}
  PageSink sink();
  std::string folder_;
  os::UniqueFd pages_;
  PagesAhead ahead_;
  std::uint64_t size_ = 0;
};

bool holds_image(const std::string& folder);
void remove_image(const std::string& folder);
std::string pages_of(const std::string& folder);  // path of the page contents

// Refuses what others than root could have written, what was cut short or altered.
Result<Snapshot> load_image(const std::string& folder);

// The error names all of them; none: success.
Result<void> refuse_obstacles(const Snapshot& snapshot);

}  // namespace upkeep::engine
