#include "machine/root.h"

#include <blkid/blkid.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>

#include "os/fd.h"
#include "os/file.h"

namespace upkeep::machine {
namespace {

using Clock = std::chrono::steady_clock;

// The kernel reports new devices on this socket; opened before looking, so that none is missed in between.
Result<os::UniqueFd> open_uevents() {
  os::UniqueFd socket(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT));
  if (!socket.valid()) return ErrnoErr("uevent socket");
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1;
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    return ErrnoErr("bind uevent socket");
  return socket;
}

// The device number it had is tried first: mostly it still has it.
std::vector<std::string> block_devices(const std::string& likely) {
  auto names = os::list_directory("/sys/class/block").value_or(std::vector<std::string>());
  for (auto& name : names) name = "/dev/" + name;
  std::stable_partition(names.begin(), names.end(), [&](const auto& name) { return name == likely; });
  return names;
}

}  // namespace

nlohmann::json to_json(const RootFileSystem& root) {
  return {{"device", root.device}, {"major", root.major},     {"minor", root.minor},
          {"uuid", root.uuid},     {"fs_type", root.fs_type}, {"options", root.options}};
}

Result<RootFileSystem> root_from_json(const nlohmann::json& json) {
  try {
    return RootFileSystem{json.at("device").get<std::string>(),  json.at("major").get<unsigned>(),
                          json.at("minor").get<unsigned>(),      json.at("uuid").get<std::string>(),
                          json.at("fs_type").get<std::string>(), json.at("options").get<std::string>()};
  } catch (const nlohmann::json::exception& error) {
    return Err("root file system: {}", error.what());
  }
}

Result<std::string> probe_uuid(const std::string& device) {
  std::unique_ptr<blkid_struct_probe, void (*)(blkid_probe)> probe(
      blkid_new_probe_from_filename(device.c_str()), blkid_free_probe);
  if (!probe) return ErrnoErr("open {}", device);
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_UUID | BLKID_SUBLKS_TYPE);
  const char* uuid = nullptr;
  if (blkid_do_safeprobe(probe.get()) != 0 ||
      blkid_probe_lookup_value(probe.get(), "UUID", &uuid, nullptr) != 0) {
    return Err("{} holds no file system with a UUID", device);
  }
  return std::string(uuid);
}

Result<std::string> find_root_device(const RootFileSystem& root, int timeout_s) {
  TRY_ASSIGN(auto uevents, open_uevents());
  const auto end = Clock::now() + std::chrono::seconds(timeout_s);
  for (;;) {
    for (const auto& device : block_devices(root.device)) {
      auto uuid = probe_uuid(device);
      if (uuid && *uuid == root.uuid) return device;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd wait = {uevents.get(), POLLIN, 0};
    if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) <= 0) {
      return Err("no block device with file system {} (it was {}) appeared within {} s", root.uuid,
                 root.device, timeout_s);
    }
    std::array<char, 8192> event;
    (void)!::recv(uevents.get(), event.data(), event.size(), 0);
  }
}

}  // namespace upkeep::machine
