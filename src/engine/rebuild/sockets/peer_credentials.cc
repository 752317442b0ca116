#include "engine/rebuild/sockets/peer_credentials.h"

#include "os/run_as.h"

namespace upkeep::engine {

Result<std::vector<os::UniqueFd>> make_as(const std::optional<PeerCredentials>& whom,
                                          const std::function<Result<std::vector<int>>()>& make) {
  if (whom) return os::run_as({whom->pid, whom->uid, whom->gid, whom->groups}, make);
  TRY_ASSIGN(const auto numbers, make());
  std::vector<os::UniqueFd> descriptors;
  for (int number : numbers) descriptors.emplace_back(number);
  return descriptors;
}

Result<void> call_as(const std::optional<PeerCredentials>& whom, const char* what,
                     const std::function<int()>& call) {
  TRY(make_as(whom, [&]() -> Result<std::vector<int>> {
    if (call() < 0) return ErrnoErr("{}", what);
    return std::vector<int>();
  }));
  return {};
}

}  // namespace upkeep::engine
