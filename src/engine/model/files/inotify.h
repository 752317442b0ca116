#pragma once
// inotify(7).

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/document/comparison.h"

namespace upkeep::engine {

// inotify(7). Watches are known by the inode; the path is one that leads to it.
struct InotifyWatch {
  std::int32_t wd = 0;
  std::uint32_t mask = 0;
  std::string path;
  std::uint64_t device = 0, inode = 0;
  bool operator==(const InotifyWatch&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("wd", self.wd);
    visit("mask", self.mask);
    visit("path", self.path);
    visit("device", self.device);
    visit("inode", self.inode);
  }
};

struct Inotify {
  std::vector<InotifyWatch> watches;  // ascending
  bool operator==(const Inotify&) const = default;
  static void fields(auto& self, auto& visit) { visit("watches", self.watches); }
};

void make_comparable(InotifyWatch& value, const InotifyWatch* other, Comparison& comparison);

}  // namespace upkeep::engine
