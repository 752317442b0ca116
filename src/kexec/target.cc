#include "kexec/target.h"

#include <algorithm>

#include "kexec/release.h"
#include "os/file.h"

namespace upkeep::kexec {
namespace {

std::string image_of(const std::string& release, const TargetRoots& roots) {
  for (auto path : {roots.boot + "/vmlinuz-" + release, roots.modules + "/" + release + "/vmlinuz"})
    if (os::exists(path)) return path;
  return {};
}

std::optional<KernelConfig> config_of(const std::string& release, const TargetRoots& roots) {
  for (const auto& path : {roots.boot + "/config-" + release, roots.modules + "/" + release + "/config"})
    if (const auto text = os::read_file(path)) return parse_kernel_config(*text);
  return std::nullopt;
}

Result<Target> make_target(std::string release, std::string image, BootImage header,
                           const TargetRoots& roots) {
  Target target{std::move(release), std::move(image), {}, std::move(header), {}};
  target.modules = roots.modules + "/" + target.release;
  if (!os::exists(target.modules))
    return Err("kernel {} has no modules: {} is missing", target.release, target.modules);
  if (!os::exists(target.modules + "/modules.dep"))
    return Err("{}/modules.dep is missing: run 'depmod {}'", target.modules, target.release);
  target.config = config_of(target.release, roots);
  return target;
}

Result<Target> from_path(const std::string& path, const TargetRoots& roots) {
  TRY_ASSIGN(auto header, read_boot_image(path));
  if (header.release.empty()) return Err("{} does not say which release it is", path);
  // it becomes part of a path
  if (header.release.find('/') != std::string::npos)
    return Err("{}: '{}' is no kernel release", path, header.release);
  auto release = header.release;
  return make_target(std::move(release), path, std::move(header), roots);
}

}  // namespace

std::vector<std::string> list_targets(const TargetRoots& roots) {
  std::vector<std::string> found;
  const auto entries = os::list_directory(roots.modules);
  if (!entries) return found;
  for (const auto& release : *entries)
    if (!image_of(release, roots).empty()) found.push_back(release);
  std::ranges::sort(found, [](const auto& a, const auto& b) { return compare_releases(a, b) > 0; });
  return found;
}

Result<Target> find_target(std::string_view kernel, const TargetRoots& roots) {
  if (kernel.find('/') != std::string_view::npos) return from_path(std::string(kernel), roots);
  const auto installed = list_targets(roots);
  auto release = newest_match(kernel, installed);
  if (!release) {
    if (!kernel.empty() && !image_of(std::string(kernel), roots).empty())
      return Err("kernel {} has no modules: {}/{} is missing", kernel, roots.modules, kernel);
    return Err("no kernel '{}' is installed; there are: {}", kernel,
               installed.empty() ? "none" : fmt::format("{}", fmt::join(installed, ", ")));
  }
  auto image = image_of(*release, roots);
  TRY_ASSIGN(auto header, read_boot_image(image));
  if (!header.release.empty() && header.release != *release)
    return Err("{} is not kernel {} but {}", image, *release, header.release);
  return make_target(std::move(*release), std::move(image), std::move(header), roots);
}

std::vector<Finding> check_target(const Target& target) {
  std::vector<Finding> findings;
  if (!target.header.relocatable)
    findings.push_back({Finding::Severity::refusal,
                        fmt::format("kernel {} is not relocatable", target.release),
                        "it can only be loaded at one address, which the carried images may occupy",
                        "choose a kernel with CONFIG_RELOCATABLE"});
  if (!target.config) {
    findings.push_back({Finding::Severity::warning,
                        fmt::format("the configuration of kernel {} is unknown", target.release),
                        "without it nothing can be said about what the kernel lacks",
                        fmt::format("put it into /boot/config-{}", target.release)});
    return findings;
  }
  for (auto& finding : check_kernel_config(*target.config, target.release))
    findings.push_back(std::move(finding));
  return findings;
}

}  // namespace upkeep::kexec
