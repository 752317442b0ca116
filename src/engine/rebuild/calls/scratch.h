#pragma once
// A directory that goes away again. It has to be empty then.

#include <string>
#include <utility>

#include "common/result.h"

namespace upkeep::engine {

class Scratch {
 public:
  static Result<Scratch> make();  // below /run, else below /tmp
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch();
  const std::string& path() const { return path_; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace upkeep::engine
