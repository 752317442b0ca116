#include "fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

namespace upkeep::testing {
namespace {

// One that says how it is carried itself, and not by whom.
struct CarriesItself : std::runtime_error {
  CarriesItself() : std::runtime_error("not carried with a machine: it saves what it has made itself") {}
};

// Only in a guest of the lab: anywhere else a test in this mode would hold a network that is not its own.
const char* carried_by() {
  const auto* folder = std::getenv("UPKEEP_TEST_CARRIED_BY");
  if (folder == nullptr) return nullptr;
  utsname machine = {};
  if (::uname(&machine) != 0 || std::string_view(machine.nodename) != "upkeep-guest") {
    std::fputs("UPKEEP_TEST_CARRIED_BY: only in a guest of the lab\n", stderr);
    std::_Exit(2);
  }
  return folder;
}

// Behind the machine's upgrade tests run beside each other, and one that takes its terminals' numbers again
// takes those of others for a moment, as it takes the next IDs: one carries at a time.
os::UniqueFd wait_for_ones_turn() {
  if (carried_by() == nullptr) return os::UniqueFd();
  os::UniqueFd turn(
      ::open((std::string(carried_by()) + "/../turn").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  while (::flock(turn.get(), LOCK_EX) < 0 && errno == EINTR) {
  }
  return turn;
}

}  // namespace

bool machine_carries() { return carried_by() != nullptr; }

std::string TreeTest::images() const {
  if (machine_is_next()) throw CarriesItself();
  return folder_.path() + "/saved";
}

::testing::AssertionResult TreeTest::cross_with_the_machine() {
  constexpr timespec kLimit = {1800, 0};
  sigset_t go_on, before;
  sigemptyset(&go_on);
  sigaddset(&go_on, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &go_on, &before);
  // Where it would hold the network afterwards, no other one may be using it.
  const auto word = fmt::format("{} {}", ::getpid(), network_.hold ? "alone" : "beside");
  const auto told = os::replace_file(std::string(carried_by()) + "/ready", word);
  int signal = -1;
  while (told && (signal = ::sigtimedwait(&go_on, nullptr, &kLimit)) < 0 && errno == EINTR) {
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  crossed_ = true;
  if (!told) return ::testing::AssertionFailure() << told.error().message();
  if (signal != SIGUSR1) return ::testing::AssertionFailure() << "nobody has carried the machine";
  return ::testing::AssertionSuccess();
}

::testing::AssertionResult TreeTest::carry(const std::vector<const Subject*>& subjects) {
  std::vector<pid_t> roots(subjects.size());
  std::ranges::transform(subjects, roots.begin(), [](const auto* subject) { return subject->pid(); });
  return carry(roots);
}

::testing::AssertionResult TreeTest::carry(const std::vector<pid_t>& roots) {
  auto all_move = [&] { return std::all_of(roots.begin(), roots.end(), moves); };
  if (!all_move()) return ::testing::AssertionFailure() << "it did not run before";
  if (auto made = make_again(roots); !made) return made;
  if (!all_move()) return ::testing::AssertionFailure() << "it does not run afterwards";
  return ::testing::AssertionSuccess();
}

bool TreeTest::are_gone(const std::vector<pid_t>& pids) {
  return eventually([&] {
    for (const pid_t pid : pids) ::waitpid(pid, nullptr, WNOHANG);
    return std::ranges::all_of(pids, [](pid_t pid) { return ::kill(pid, 0) < 0; });
  });
}

::testing::AssertionResult TreeTest::make_again(const std::vector<pid_t>& roots) {
  if (machine_is_next()) return cross_with_the_machine();
  const auto turn = wait_for_ones_turn();
  auto removed = os::remove_tree(images());
  auto saved = engine::save_trees(roots, images(), false, network_);
  if (!removed || !saved) return ::testing::AssertionFailure() << "snapshot: " << saved.error().message();
  if (!are_gone(saved->pids)) return ::testing::AssertionFailure() << "it did not end";
  auto restored = engine::restore_trees(images(), false, network_);
  if (!restored) return ::testing::AssertionFailure() << "restore: " << restored.error().message();
  return ::testing::AssertionSuccess();
}

}  // namespace upkeep::testing
