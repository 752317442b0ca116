#include "engine/rebuild/task/keyrings.h"

#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace upkeep::engine {
namespace {

// The keyring that all processes of a user have belongs to whoever asks for it.
void link_user_keyring(Program& program, std::uint32_t uid) {
  constexpr std::uint32_t kSame = ~0U;
  if (uid != 0) program.call(SYS_prctl, {PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0});
  if (uid != 0) program.call(SYS_setresuid, {uid, kSame, kSame});
  program.call(SYS_keyctl, {KEYCTL_LINK, KEY_SPEC_USER_KEYRING, KEY_SPEC_SESSION_KEYRING});
  if (uid != 0) program.call(SYS_setresuid, {0, kSame, kSame});
  if (uid != 0) program.call(SYS_prctl, {PR_SET_SECUREBITS, 0, 0, 0, 0});
}

}  // namespace

Program compile_join(const Keyring& keyring) {
  Program program;
  const bool named = keyring.name != "_ses";
  if (named)
    program.call(SYS_keyctl, {KEYCTL_JOIN_SESSION_KEYRING, program.text(keyring.name)});
  else
    program.call(SYS_keyctl, {KEYCTL_JOIN_SESSION_KEYRING, 0});
  return program;
}

Program compile_keys(const Keyring& keyring) {
  Program program;
  for (const auto& key : keyring.keys) {
    if (key.type == "keyring") {
      link_user_keyring(program, key.uid);
      continue;
    }
    program.call(SYS_add_key, {program.text(key.type), program.text(key.description),
                               program.bytes(std::as_bytes(std::span(key.payload.data))),
                               key.payload.data.size(), KEY_SPEC_SESSION_KEYRING});
  }
  return program;
}

Program compile_key_owners(const Keyring& keyring, const std::vector<std::int64_t>& serials) {
  Program program;
  auto settle = [&program](std::int64_t serial, std::uint32_t uid, std::uint32_t gid,
                           std::uint32_t permissions) {
    program.call(SYS_keyctl, {KEYCTL_CHOWN, serial, uid, gid});
    program.call(SYS_keyctl, {KEYCTL_SETPERM, serial, permissions});
  };
  std::size_t next = 0;
  for (const auto& key : keyring.keys) {
    if (key.type != "keyring" && next < serials.size())
      settle(serials[next++], key.uid, key.gid, key.permissions);
  }
  settle(KEY_SPEC_SESSION_KEYRING, keyring.uid, keyring.gid, keyring.permissions);
  return program;
}

}  // namespace upkeep::engine
