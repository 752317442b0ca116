#pragma once
// An engine on tasks of the test's own, on this machine's kernel. Skipped where it is criu and there is none.

#include <glob.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "engine/criu/criu_engine.h"
#include "engine/native/native_engine.h"
#include "os/procfs.h"
#include "subject.h"

namespace upkeep::testing {

inline std::vector<std::string> matches(const std::string& pattern) {
  glob_t found = {};
  std::vector<std::string> paths;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0)
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  return paths;
}

// This system's criu, else the one in the lab's Debian 13 folder, run by that folder's own loader.
inline engine::criu::Program find_criu() {
  if (auto path = os::find_program("criu"); !path.empty()) return {{path}, ""};
  const char* cache = std::getenv("UPKEEP_CACHE");
  for (const auto& path :
       matches(std::string(cache != nullptr ? cache : "/var/cache/upkeep") + "/base/*/usr/sbin/criu")) {
    const std::string root = path.substr(0, path.size() - std::string("/usr/sbin/criu").size());
    return {
        {root + "/lib64/ld-linux-x86-64.so.2", "--library-path", root + "/usr/lib/x86_64-linux-gnu", path},
        ""};
  }
  return {};
}

class EngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    (void)::setsid();  // whoever runs the tests may have a leader that this PID namespace does not see
    images_ = folder_.path() + "/images";
    ASSERT_TRUE(os::make_directories(images_, 0700));
    make_engine();
    hooks_.facts = [this](const Event& event) { facts_.update(event.data); };
    restore_hooks_.facts = hooks_.facts;
  }
  virtual void make_engine() {
    auto program = find_criu();
    if (program.argv.empty()) GTEST_SKIP() << "no criu on this machine";
    engine_ = engine::criu::make_engine({program, folder_.path() + "/work", "/sys/fs/cgroup"});
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
      // As in a jump nobody gets to clean up: the tasks, which are stopped, and criu end together, and what
      // is left of them is gone before somebody lets them go.
      const auto carried = ended_by_carry(manifest), criu = criu_processes();
      for (pid_t pid : carried) ::kill(pid, SIGKILL);
      for (pid_t pid : criu) ::kill(pid, SIGKILL);
      for (pid_t pid : carried) {
        if (!eventually([pid] { return ::waitpid(pid, nullptr, WNOHANG) != 0 && ::kill(pid, 0) != 0; }))
          return ::testing::AssertionFailure() << pid << " did not end";
      }
      for (pid_t pid : criu) {
        const auto ended = [pid] {
          const auto stat = os::read_stat(pid);
          return !stat || stat->state == 'Z';
        };
        if (!eventually(ended))
          return ::testing::AssertionFailure() << "criu, process " << pid << ", did not end";
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

  // The criu processes of this test.
  static std::vector<pid_t> criu_processes() {
    std::vector<pid_t> result;
    auto tree = os::process_tree(::getpid());
    if (!tree) return result;
    for (pid_t pid : *tree) {
      if (os::command_line(pid).find("dump --rpc") != std::string::npos) result.push_back(pid);
    }
    return result;
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

// What holds of all of them. The parameter is the engine's name.
class EveryEngine : public EngineTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void make_engine() override {
    if (std::string(GetParam()) == "native")
      engine_ = native::make_engine();
    else
      EngineTest::make_engine();
  }
};
inline const auto all_engines = ::testing::Values("criu", "native");
inline std::string engine_name(const ::testing::TestParamInfo<const char*>& engine) { return engine.param; }

// A network namespace of the test's own, loopback up, for as long as this lives.
class OwnNetwork {
 public:
  OwnNetwork();
  OwnNetwork(const OwnNetwork&) = delete;
  ~OwnNetwork();
  static void set_loopback(bool up);

 private:
  os::UniqueFd before_;
};

}  // namespace upkeep::testing
