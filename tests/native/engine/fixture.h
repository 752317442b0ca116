#pragma once
// The engine on tasks of the test's own, on this machine's kernel.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/native_engine.h"
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
    engine_ = engine::make_engine();
    hooks_.facts = [this](const Event& event) { facts_.update(event.data); };
    restore_hooks_.facts = hooks_.facts;
  }
  void TearDown() override {
    for (const auto& [name, value] : facts_.items())
      std::printf("  %s = %s\n", name.c_str(), value.dump().c_str());
  }

  Result<std::unique_ptr<engine::StoodStill>> snapshot(const std::vector<pid_t>& roots) {
    TRY_ASSIGN(auto set, engine::collect(roots));
    return engine_->snapshot(set, {images_, std::chrono::seconds(60)}, hooks_);
  }
  Result<engine::Restored> restore(const nlohmann::json& manifest) {
    return engine_->restore(images_, manifest, restore_hooks_);
  }

  // The whole way but for the kernel: stopped, copied, ended, made again. What the tasks had before has to be
  // there after.
  ::testing::AssertionResult carry(const std::vector<const Subject*>& subjects) {
    std::vector<pid_t> roots;
    for (const auto* subject : subjects) roots.push_back(subject->pid());
    nlohmann::json manifest;
    {
      auto still = snapshot(roots);
      if (!still) return ::testing::AssertionFailure() << "snapshot: " << still.error().message();
      manifest = (*still)->manifest();
      // As in a jump nobody gets to clean up: what is left of the tasks, which are stopped, is gone before
      // somebody lets them go.
      const auto carried = ended_by_carry(manifest);
      for (pid_t pid : carried) ::kill(pid, SIGKILL);
      for (pid_t pid : carried) {
        if (!eventually([pid] { return ::waitpid(pid, nullptr, WNOHANG) != 0 && ::kill(pid, 0) != 0; }))
          return ::testing::AssertionFailure() << pid << " did not end";
      }
    }
    if (between_) between_();
    auto restored = restore(manifest);
    if (!restored) return ::testing::AssertionFailure() << "restore: " << restored.error().message();
    for (pid_t pid : roots) {
      if (!moves(pid)) return ::testing::AssertionFailure() << pid << " does not run";
    }
    return ::testing::AssertionSuccess();
  }

  Folder folder_;
  std::string images_;
  std::unique_ptr<engine::Engine> engine_;
  engine::SnapshotHooks hooks_;
  engine::RestoreHooks restore_hooks_;
  std::function<void()> between_;  // what happens while nobody is there
  nlohmann::json facts_ = nlohmann::json::object();

 private:
  static std::vector<pid_t> ended_by_carry(const nlohmann::json& manifest) {
    auto set = engine::carry_set_from_json(manifest.at("carry"));
    return set ? set->pids() : std::vector<pid_t>();
  }
};

}  // namespace upkeep::testing
