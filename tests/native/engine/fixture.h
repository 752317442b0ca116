#pragma once
// The engine on tasks of the test's own, on this machine's kernel.

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "os/procfs.h"
#include "subject.h"

namespace upkeep::testing {

class EngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    (void)::setsid();  // whoever runs the tests may have a leader that this PID namespace does not see
    images_ = folder_.path() + "/images";
    ASSERT_TRUE(os::make_directories(images_, 0700));
  }

  // Stopped and saved.
  Result<engine::StoppedSet> snapshot(const std::vector<pid_t>& roots) {
    if (!image_) {
      TRY_ASSIGN(auto image, engine::ImageWriter::create(images_));
      image_.emplace(std::move(image));
    }
    TRY_ASSIGN(auto stopped, engine::StoppedSet::stop(roots));
    TRY(stopped.save(*image_, engine::Durability::in_memory));
    image_.reset();
    return stopped;
  }
  Result<engine::MadeSet> make() {
    TRY_ASSIGN(const auto loaded, engine::LoadedSet::load(images_));
    return loaded.make();
  }
  Result<void> restore() {
    TRY_ASSIGN(auto made, make());
    return made.release();
  }

  // As in a jump nobody gets to clean up: what is left of the tasks, which are stopped, is gone before somebody lets
  // them go.
  static ::testing::AssertionResult end(const engine::StoppedSet& stopped) {
    const auto set = stopped.set();
    if (!set) return ::testing::AssertionFailure() << set.error().message();
    const auto carried = set->pids();
    for (pid_t pid : carried) ::kill(pid, SIGKILL);
    for (pid_t pid : carried) {
      if (!eventually([pid] { return ::waitpid(pid, nullptr, WNOHANG) != 0 && ::kill(pid, 0) != 0; }))
        return ::testing::AssertionFailure() << pid << " did not end";
    }
    return ::testing::AssertionSuccess();
  }

  // The whole way but for the kernel: stopped, copied, ended, made again. What the tasks had before has to be there
  // after.
  ::testing::AssertionResult carry(const std::vector<const Subject*>& subjects) {
    std::vector<pid_t> roots;
    for (const auto* subject : subjects) roots.push_back(subject->pid());
    {
      const auto still = snapshot(roots);
      if (!still) return ::testing::AssertionFailure() << "snapshot: " << still.error().message();
      if (auto ended = end(*still); !ended) return ended;
    }
    if (auto restored = restore(); !restored)
      return ::testing::AssertionFailure() << "restore: " << restored.error().message();
    for (pid_t pid : roots) {
      if (!moves(pid)) return ::testing::AssertionFailure() << pid << " does not run";
    }
    return ::testing::AssertionSuccess();
  }

  Folder folder_;
  std::string images_;
  std::optional<engine::ImageWriter> image_;  // what the next snapshot() is written to; none: a new one
};

}  // namespace upkeep::testing
