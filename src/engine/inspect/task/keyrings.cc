#include "engine/inspect/task/keyrings.h"

#include <linux/keyctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "engine/tree/answers.h"

namespace upkeep::engine {
namespace {

constexpr std::size_t kMost = 512;  // what a guest call may answer

std::uint64_t as_argument(std::int32_t serial) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(serial));
}

// An ID as the task sees it, as we see it.
std::optional<std::uint32_t> outside(std::uint32_t id, const std::vector<IdRange>* ranges) {
  if (ranges == nullptr) return id;
  for (const auto& range : *ranges) {
    if (id >= range.inside && id - range.inside < range.count) return range.outside + (id - range.inside);
  }
  return std::nullopt;
}

// The keyring that each user has. It belongs to no group.
bool is_users_own(const Key& key) { return key.type == "keyring" && key.description.starts_with("_uid."); }

class KeyReader {
 public:
  KeyReader(ThreadCalls& calls, const Process& process, Snapshot& snapshot)
      : calls_(calls), process_(process), snapshot_(snapshot) {
    if (!process.namespaces) return;
    const auto& user = snapshot.namespaces[*process.namespaces].user;
    if (user) uids_ = user->uids, gids_ = user->gids, mapped_ = true;
  }

  // Nothing: the kernel has given it the one that its user's processes share where they have none.
  Result<std::optional<std::uint32_t>> read(std::int32_t serial) {
    auto& all = snapshot_.keyrings;
    const auto known = std::find_if(all.begin(), all.end(),
                                    [&](const Keyring& keyring) { return keyring.serial == serial; });
    if (known != all.end()) return std::optional(static_cast<std::uint32_t>(known - all.begin()));
    Keyring keyring;
    keyring.serial = serial;
    Key itself;
    TRY_ASSIGN(const bool told, describe(serial, itself));
    if (!told) return refuse("session keyring", "the process may not look at it");
    if (itself.description.starts_with("_uid_ses.")) return std::optional<std::uint32_t>();
    if (!has_owner_) return refuse("session keyring", "its owner is not known in the user namespace");
    keyring.name = itself.description;
    keyring.uid = itself.uid, keyring.gid = itself.gid, keyring.permissions = itself.permissions;
    TRY_ASSIGN(const auto content, read_payload(serial));
    if (!content)
      return refuse("session keyring " + keyring.name, "the process may not read it, or it is too long");
    for (std::size_t at = 0; at + sizeof(std::int32_t) <= content->size(); at += sizeof(std::int32_t)) {
      std::int32_t key = 0;
      std::memcpy(&key, content->data() + at, sizeof key);
      TRY(read_key(key, keyring));
    }
    all.push_back(std::move(keyring));
    return std::optional(static_cast<std::uint32_t>(all.size() - 1));
  }

  Result<std::optional<std::int32_t>> serial_of(std::int32_t special) {
    TRY_ASSIGN(const auto answer,
               calls_.call({SYS_keyctl, {KEYCTL_GET_KEYRING_ID, as_argument(special), 0}}));
    if (answer.returned() > 0) return std::optional(static_cast<std::int32_t>(answer.returned()));
    return std::optional<std::int32_t>();  // ENOKEY; ENOSYS
  }

  Result<std::optional<std::vector<std::uint8_t>>> read_payload(std::int32_t serial) {
    TRY_ASSIGN(const auto answer,
               calls_.call({SYS_keyctl, {KEYCTL_READ, as_argument(serial), kAnswerPlace, kMost}}));
    const long size = answer.returned();
    if (size < 0 || size > static_cast<long>(kMost)) return std::optional<std::vector<std::uint8_t>>();
    TRY_ASSIGN(const auto bytes, (answer.written<std::array<std::uint8_t, kMost>>()));
    return std::optional(std::vector<std::uint8_t>(bytes.begin(), bytes.begin() + size));
  }

 private:
  Result<std::optional<std::uint32_t>> refuse(std::string what, std::string why) {
    snapshot_.obstacles.push_back({process_.pid, std::move(what), std::move(why), ""});
    return std::optional<std::uint32_t>();
  }

  // "user;1000;1000;3f010000;description". False: it may not, or it does not fit.
  Result<bool> describe(std::int32_t serial, Key& key) {
    TRY_ASSIGN(const auto answer,
               calls_.call({SYS_keyctl, {KEYCTL_DESCRIBE, as_argument(serial), kAnswerPlace, kMost}}));
    const long size = answer.returned();
    if (size <= 0 || size > static_cast<long>(kMost)) return false;
    TRY_ASSIGN(const auto bytes, (answer.written<std::array<char, kMost>>()));
    std::string_view text(bytes.data(), static_cast<std::size_t>(size - 1));
    auto field = [&text] {
      const auto end = text.find(';');
      const auto value = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      return value;
    };
    auto number = [&field](std::uint32_t& value, int base) {
      const auto digits = field();
      return std::from_chars(digits.data(), digits.data() + digits.size(), value, base).ec == std::errc();
    };
    key.type = field();
    std::uint32_t uid = 0, gid = 0;
    if (!number(uid, 10) || !number(gid, 10) || !number(key.permissions, 16)) return false;
    key.description = text;
    const auto outer_uid = outside(uid, mapped_ ? &uids_ : nullptr);
    const auto outer_gid = outside(gid, mapped_ ? &gids_ : nullptr);
    has_owner_ = outer_uid && (outer_gid || is_users_own(key));
    key.uid = outer_uid.value_or(0), key.gid = outer_gid.value_or(0);
    return true;
  }

  Result<void> read_key(std::int32_t serial, Keyring& keyring) {
    Key key;
    TRY_ASSIGN(const bool told, describe(serial, key));
    const auto name = fmt::format("key '{}' of type {}", key.description, key.type);
    if (!told) {
      (void)refuse(fmt::format("key {:#x} in its session keyring", serial), "the process may not look at it");
      return {};
    }
    if (!has_owner_) {
      (void)refuse(name, "its owner is not known in the user namespace");
      return {};
    }
    if (is_users_own(key)) {
      keyring.keys.push_back(std::move(key));
      return {};
    }
    if (key.type != "user") {
      (void)refuse(name, "keys of this type cannot be read or are not rebuilt by this version");
      return {};
    }
    TRY_ASSIGN(auto payload, read_payload(serial));
    if (!payload) {
      (void)refuse(name, fmt::format("the process may not read it, or it is longer than {} bytes", kMost));
      return {};
    }
    key.payload.data = std::move(*payload);
    keyring.keys.push_back(std::move(key));
    return {};
  }

  ThreadCalls& calls_;
  const Process& process_;
  Snapshot& snapshot_;
  std::vector<IdRange> uids_, gids_;
  bool mapped_ = false;
  bool has_owner_ = false;  // the key that was described last
};

}  // namespace

Result<void> read_keyring(ThreadCalls& calls, long serial, Process& process, Snapshot& snapshot) {
  if (serial <= 0) return {};
  TRY_ASSIGN(process.stopped->keyring,
             KeyReader(calls, process, snapshot).read(static_cast<std::int32_t>(serial)));
  return {};
}

Result<void> look_for_other_keyrings(ThreadCalls& calls, const Thread& thread, Snapshot& snapshot) {
  const Process nobody;
  KeyReader reader(calls, nobody, snapshot);
  for (const auto& [special, name] :
       {std::pair{KEY_SPEC_THREAD_KEYRING, "thread"}, {KEY_SPEC_PROCESS_KEYRING, "process"}}) {
    TRY_ASSIGN(const auto serial, reader.serial_of(special));
    if (!serial) continue;
    TRY_ASSIGN(const auto content, reader.read_payload(*serial));
    if (content && content->empty()) continue;
    snapshot.obstacles.push_back({thread.tid, fmt::format("keys in its {} keyring", name),
                                  "they are not rebuilt by this version", ""});
  }
  return {};
}

}  // namespace upkeep::engine
