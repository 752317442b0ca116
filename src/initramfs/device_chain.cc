#include "initramfs/device_chain.h"

#include <filesystem>

#include "os/file.h"

namespace upkeep::initramfs {
namespace {

namespace fs = std::filesystem;

Result<std::string> resolved(const std::string& path) {
  std::error_code code;
  auto real = fs::canonical(path, code);
  if (code) return tl::unexpected(Error(fmt::format("{}: {}", path, code.message()), code.value()));
  return real.string();
}

// The last part of where the link PATH leads; empty where there is no link.
std::string link_name(const std::string& path) {
  auto target = os::read_link(path);
  return target ? fs::path(*target).filename().string() : std::string();
}

// A sysfs attribute, one line; empty where there is none.
std::string attribute(const std::string& path) {
  auto text = os::read_file(path);
  if (!text) return {};
  return text->substr(0, text->find('\n'));
}

Device read_device(const std::string& path) {
  Device device;
  device.path = path;
  device.modalias = attribute(path + "/modalias");
  device.driver = link_name(path + "/driver");
  device.driver_module = link_name(path + "/driver/module");
  // only loaded modules have this file; what is built in has a directory for its parameters at most
  device.module_is_loaded = !device.driver_module.empty() && os::exists(path + "/driver/module/initstate");
  return device;
}

}  // namespace

Result<std::vector<Device>> device_chain(const std::string& sysfs, const std::string& path) {
  TRY_ASSIGN(const std::string top, resolved(sysfs + "/devices"));
  TRY_ASSIGN(std::string at, resolved(path));
  if (!at.starts_with(top + "/")) return Err("{} is no device in sysfs", path);
  std::vector<Device> chain;
  for (; at.size() > top.size(); at = fs::path(at).parent_path().string()) {
    Device device = read_device(at);
    if (!device.modalias.empty() || !device.driver.empty()) chain.push_back(std::move(device));
  }
  return chain;
}

Result<std::string> block_device_path(const std::string& sysfs, unsigned major, unsigned minor) {
  auto path = resolved(fmt::format("{}/dev/block/{}:{}", sysfs, major, minor));
  if (!path)
    return tl::unexpected(std::move(path).error().in(fmt::format("no block device {}:{}", major, minor)));
  return path;
}

Result<std::vector<std::string>> block_device_origins(const std::string& sysfs, unsigned major,
                                                      unsigned minor) {
  TRY_ASSIGN(const std::string path, block_device_path(sysfs, major, minor));
  const auto virtual_disk = path.find("/virtual/nvme-subsystem/");
  if (virtual_disk == std::string::npos) return std::vector{path};
  const auto name_at = virtual_disk + std::string_view("/virtual/nvme-subsystem/").size();
  const std::string subsystem = path.substr(0, path.find('/', name_at));
  TRY_ASSIGN(const auto entries, os::list_directory(subsystem));
  std::vector<std::string> origins;
  for (const auto& entry : entries) {
    const auto link = fmt::format("{}/{}", subsystem, entry);
    // its controllers are the links "nvme0", "nvme1", ...
    if (entry.starts_with("nvme") && os::read_link(link)) origins.push_back(link);
  }
  if (origins.empty()) return Err("{} has no controllers", subsystem);
  return origins;
}

Result<std::vector<PhysicalLink>> physical_links(const std::string& sysfs) {
  TRY_ASSIGN(const auto names, os::list_directory(sysfs + "/class/net"));
  std::vector<PhysicalLink> links;
  for (const auto& name : names) {
    const auto device = fmt::format("{}/class/net/{}/device", sysfs, name);
    if (!os::exists(device)) continue;
    TRY_ASSIGN(auto path, resolved(device));
    links.push_back({name, std::move(path)});
  }
  return links;
}

}  // namespace upkeep::initramfs
