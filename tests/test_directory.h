#pragma once
// A directory of a test's own, for what stands in for sysfs, procfs or /var/lib; it goes away with its contents.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "os/file.h"

namespace upkeep {

class TestDirectory {
 public:
  TestDirectory() {
    if (::mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  ~TestDirectory() { (void)os::remove_tree(path_); }

  const std::string& path() const { return path_; }
  // NAMEs are relative.
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  void make(std::string_view name) const { ASSERT_TRUE(os::make_directories(*this / name)); }
  // Makes the directories above it too.
  void write(std::string_view name, std::string_view content, mode_t mode = 0644) const {
    ASSERT_TRUE(os::make_directories(std::filesystem::path(*this / name).parent_path()));
    ASSERT_TRUE(os::replace_file(*this / name, content, mode));
  }
  std::string read(std::string_view name) const { return os::read_file(*this / name).value_or("nothing"); }
  bool has(std::string_view name) const { return os::exists(*this / name); }

 private:
  std::string path_ = "/tmp/upkeep-test-XXXXXX";
};

}  // namespace upkeep
