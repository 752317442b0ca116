#include "initramfs/modules.h"

#include <algorithm>
#include <map>
#include <set>

#include "initramfs/device_chain.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::initramfs {
namespace {

std::string kernel_spelling(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name;
}

bool any_built_in(const std::vector<IndexedModule>& modules) {
  return std::ranges::any_of(modules, &IndexedModule::built_in);
}

class Collector {
 public:
  Collector(const KmodIndex& index, const ModuleRoots& roots)
      : index_(index),
        roots_(roots),
        running_(KmodIndex::open(roots.running_release.empty() ? os::kernel_release() : roots.running_release,
                                 roots)) {}

  Result<void> add_chain(const std::string& path, const std::string& purpose);
  Result<void> add_file_system(const std::string& type);
  Result<void> add_name(const std::string& name, const std::string& purpose, bool required);
  ModuleSet take() && { return std::move(set_); }

 private:
  Result<void> add_device(const Device& device, const std::string& purpose);
  bool could_be_missed(const Device& device, const std::string& todays) const;
  Result<void> add(const IndexedModule& module, const std::string& reason, bool required);
  Result<void> add_soft(const std::vector<std::string>& names, const std::string& reason);
  std::vector<std::string> present_firmware(const std::string& module) const;

  const KmodIndex& index_;
  const ModuleRoots& roots_;
  Result<KmodIndex> running_;  // an error where the running kernel's package has been removed
  ModuleSet set_;
  std::map<std::string, std::size_t> placed_;  // name -> index in load_order
  std::set<std::string> visiting_;             // broken indexes may hold circles
};

Result<void> Collector::add(const IndexedModule& module, const std::string& reason, bool required) {
  if (module.built_in) {
    if (std::ranges::find(set_.built_in, module.name) == set_.built_in.end())
      set_.built_in.push_back(module.name);
    return {};
  }
  if (const auto placed = placed_.find(module.name); placed != placed_.end()) {
    if (!required || set_.load_order[placed->second].required) return {};
    // optional until now: what it needs becomes required with it
    set_.load_order[placed->second].required = true;
  }
  if (!visiting_.insert(module.name).second) return {};
  TRY_ASSIGN(const auto dependencies, index_.dependencies(module.name));
  const auto needed_by = fmt::format("needed by {}", module.name);
  const auto soft = index_.soft_dependencies(module.name);
  TRY(add_soft(soft.before, needed_by));
  for (const auto& dependency : dependencies) TRY(add(dependency, needed_by, required));
  if (!placed_.contains(module.name)) {
    placed_.emplace(module.name, set_.load_order.size());
    set_.load_order.push_back({module.name, module.path, index_.options(module.name), reason, required,
                               present_firmware(module.name)});
  }
  visiting_.erase(module.name);
  return add_soft(soft.after, needed_by);
}

// Soft dependencies are mostly faster or additional implementations of something. What is built in already
// under one of these names is enough to boot with; udev loads the rest later, from the root file system.
Result<void> Collector::add_soft(const std::vector<std::string>& names, const std::string& reason) {
  for (const auto& name : names) {
    TRY_ASSIGN(const auto found, index_.lookup_allowed(name));
    if (any_built_in(found)) continue;
    for (const auto& module : found) TRY(add(module, reason, false));
  }
  return {};
}

std::vector<std::string> Collector::present_firmware(const std::string& module) const {
  std::vector<std::string> present;
  for (const auto& name : index_.firmware(module)) {
    if (name.starts_with('/') || name.find("..") != std::string::npos) continue;
    for (const char* suffix : {"", ".xz", ".zst"})  // the kernel's loader tries the same ones
      if (const auto file = name + suffix; os::exists(roots_.firmware + "/" + file)) present.push_back(file);
  }
  return present;
}

Result<void> Collector::add_name(const std::string& name, const std::string& purpose, bool required) {
  TRY_ASSIGN(const auto found, index_.lookup(name));
  if (found.empty() && required) return Err("the target kernel has no module '{}' ({})", name, purpose);
  if (found.empty()) set_.missing.push_back(name);
  for (const auto& module : found) TRY(add(module, purpose, required));
  return {};
}

Result<void> Collector::add_file_system(const std::string& type) {
  TRY_ASSIGN(auto found, index_.lookup("fs-" + type));
  if (found.empty()) {
    TRY_ASSIGN(found, index_.lookup(type));
  }
  if (found.empty()) return Err("the target kernel has no file system '{}'", type);
  for (const auto& module : found) TRY(add(module, fmt::format("file system {}", type), true));
  return {};
}

// Some drivers (pcieport, …) are part of every kernel and in no index. Not so those that are loaded modules
// today, or that the running kernel's own index knows: a target without them cannot run the device.
bool Collector::could_be_missed(const Device& device, const std::string& todays) const {
  if (device.module_is_loaded) return true;
  if (todays.empty() || !running_) return false;
  const auto known = running_->lookup(todays);
  return known && !known->empty();
}

Result<void> Collector::add_device(const Device& device, const std::string& purpose) {
  if (device.driver.empty()) return {};  // works without one today
  const auto reason = fmt::format("{}: {}", purpose, device.path);
  const auto todays = kernel_spelling(device.driver_module);
  std::vector<IndexedModule> found;
  if (!device.modalias.empty()) {
    TRY_ASSIGN(found, index_.lookup(device.modalias));
    const auto same = std::ranges::find(found, todays, &IndexedModule::name);
    if (same != found.end()) return add(*same, reason, true);  // blacklisted or not: it runs today
    TRY_ASSIGN(found, index_.lookup_allowed(device.modalias));
  }
  if (!todays.empty()) {
    // Indexes before Linux 6.18 do not know which devices their built-in drivers run; so also what is bound
    // by hand.
    TRY_ASSIGN(const auto by_name, index_.lookup(todays));
    if (found.empty() || any_built_in(by_name)) found.insert(found.end(), by_name.begin(), by_name.end());
  }
  if (found.empty() && !could_be_missed(device, todays)) return {};
  if (found.empty())
    return Err("the target kernel has no module for the device {} (alias '{}', driver {} of module {} today)",
               device.path, device.modalias, device.driver, todays);
  for (const auto& module : found) TRY(add(module, reason, true));
  return {};
}

Result<void> Collector::add_chain(const std::string& path, const std::string& purpose) {
  TRY_ASSIGN(const auto chain, device_chain(roots_.sys, path));
  // from the bus's root to the device, as they will appear
  for (auto device = chain.rbegin(); device != chain.rend(); ++device)
    TRY_IN(purpose, add_device(*device, purpose));
  return {};
}

}  // namespace

Result<ModuleSet> modules_for(const Needs& needs, const std::string& release, const ModuleRoots& roots) {
  TRY_ASSIGN(const KmodIndex index, KmodIndex::open(release, roots));
  Collector collector(index, roots);
  for (const auto& need : needs.file_systems) {
    TRY_ASSIGN(const auto origins, block_device_origins(roots.sys, need.major, need.minor));
    for (const auto& origin : origins) TRY(collector.add_chain(origin, "root file system"));
    TRY(collector.add_file_system(need.type));
  }
  if (needs.physical_links) {
    TRY_ASSIGN(const auto links, physical_links(roots.sys));
    for (const auto& link : links) TRY(collector.add_chain(link.device, "network link " + link.name));
  }
  for (const auto& name : needs.names) TRY(collector.add_name(name, "asked for", true));
  for (const auto& name : needs.optional_names) TRY(collector.add_name(name, "asked for", false));
  return std::move(collector).take();
}

}  // namespace upkeep::initramfs
