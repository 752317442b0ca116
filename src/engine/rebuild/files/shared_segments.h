#pragma once
// System V shared memory, made again with its key and its ID.

#include <utility>

#include "common/result.h"
#include "engine/model/files/kept_files.h"
#include "os/fd.h"

namespace upkeep::engine {

class MadeSegment {
 public:
  // A segment is there already where the same kernel still runs: it outlives its users. Then it has to be the
  // recorded one, and nobody may have it attached. Its contents are put back in any case.
  static Result<MadeSegment> make(const KeptFile& kept, os::Fd pages);
  MadeSegment(MadeSegment&& other) noexcept
      : id_(other.id_), new_(std::exchange(other.new_, false)), removed_(other.removed_) {}
  MadeSegment& operator=(MadeSegment&&) = delete;
  ~MadeSegment();  // a new one goes away again unless finish() was called
  // When all tasks have attached it.
  Result<void> finish();

 private:
  MadeSegment(int id, bool removed) : id_(id), removed_(removed) {}
  int id_;
  bool new_ = false;
  bool removed_;
};

}  // namespace upkeep::engine
