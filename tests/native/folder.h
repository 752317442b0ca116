#pragma once
// A folder of a test's own that goes away with its contents.

#include <cstdlib>
#include <string>

#include "os/file.h"

namespace upkeep::testing {

class Folder {
 public:
  explicit Folder(const std::string& parent = "/tmp") : path_(parent + "/upkeep-test-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  Folder(const Folder&) = delete;
  ~Folder() { (void)os::remove_tree(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace upkeep::testing
