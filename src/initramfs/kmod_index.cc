#include "initramfs/kmod_index.h"

#include <fnmatch.h>
#include <libkmod.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "os/file.h"

namespace upkeep::initramfs {
namespace {

struct ListUnref {
  void operator()(kmod_list* list) const { ::kmod_module_unref_list(list); }
};
using ModuleList = std::unique_ptr<kmod_list, ListUnref>;
struct ModuleUnref {
  void operator()(kmod_module* module) const { ::kmod_module_unref(module); }
};
using ModulePtr = std::unique_ptr<kmod_module, ModuleUnref>;

tl::unexpected<Error> kmod_error(const std::string& what, int code) {
  return tl::unexpected(Error(fmt::format("{}: {}", what, errno_text(-code)), -code));
}

IndexedModule describe(kmod_module* module) {
  IndexedModule found;
  found.name = ::kmod_module_get_name(module);
  found.built_in = ::kmod_module_get_initstate(module) == KMOD_MODULE_BUILTIN;
  const char* path = found.built_in ? nullptr : ::kmod_module_get_path(module);
  if (path != nullptr) found.path = path;
  return found;
}

// Entries without a file are aliases of modprobe.d to something that this kernel does not have.
std::vector<IndexedModule> describe(kmod_list* list) {
  std::vector<IndexedModule> found;
  kmod_list* entry = nullptr;
  kmod_list_foreach(entry, list) {
    const ModulePtr module(::kmod_module_get_module(entry));
    if (auto one = describe(module.get()); one.built_in || !one.path.empty()) found.push_back(std::move(one));
  }
  return found;
}

Result<ModuleList> look_up(kmod_ctx* context, const std::string& name) {
  kmod_list* list = nullptr;
  if (const int code = ::kmod_module_new_from_lookup(context, name.c_str(), &list); code < 0)
    return kmod_error(fmt::format("looking up the module '{}'", name), code);
  return ModuleList(list);
}

Result<ModulePtr> by_name(kmod_ctx* context, const std::string& name) {
  kmod_module* module = nullptr;
  if (const int code = ::kmod_module_new_from_name(context, name.c_str(), &module); code < 0)
    return kmod_error(fmt::format("module '{}'", name), code);
  return ModulePtr(module);
}

}  // namespace

SoftDependencies parse_soft_dependencies(std::string_view text) {
  SoftDependencies found;
  std::vector<std::string>* into = nullptr;
  std::istringstream words{std::string(text)};
  for (std::string word; words >> word;) {
    if (word == "pre:")
      into = &found.before;
    else if (word == "post:")
      into = &found.after;
    else if (into != nullptr)
      into->push_back(word);
  }
  return found;
}

std::vector<BuiltInAlias> parse_built_in_aliases(std::string_view text) {
  std::vector<BuiltInAlias> aliases;
  while (!text.empty()) {
    const auto entry = text.substr(0, text.find('\0'));
    text.remove_prefix(std::min(entry.size() + 1, text.size()));
    const auto dot = entry.find('.');
    if (dot == std::string_view::npos || !entry.substr(dot).starts_with(".alias=")) continue;
    BuiltInAlias alias{std::string(entry.substr(0, dot)), std::string(entry.substr(dot + 7))};
    std::ranges::replace(alias.pattern, '-', '_');
    aliases.push_back(std::move(alias));
  }
  return aliases;
}

void KmodIndex::Unref::operator()(kmod_ctx* context) const { ::kmod_unref(context); }

Result<KmodIndex> KmodIndex::open(const std::string& release, const ModuleRoots& roots) {
  const auto directory = roots.modules + "/" + release;
  if (!os::exists(directory)) return Err("kernel {} has no modules: {} is missing", release, directory);
  if (!os::exists(directory + "/modules.dep.bin"))
    return Err("{}/modules.dep.bin is missing: run 'depmod {}'", directory, release);
  std::vector<const char*> config;
  for (const auto& path : roots.modprobe_config) config.push_back(path.c_str());
  config.push_back(nullptr);
  KmodIndex index(::kmod_new(directory.c_str(), roots.modprobe_config.empty() ? nullptr : config.data()));
  if (!index.context_) return Err("cannot read the module index in {}", directory);
  if (const auto info = os::read_file(directory + "/modules.builtin.modinfo"))
    index.built_in_aliases_ = parse_built_in_aliases(*info);
  // libkmod writes to stderr otherwise
  ::kmod_set_log_fn(
      index.context_.get(), [](void*, int, const char*, int, const char*, const char*, va_list) {}, nullptr);
  if (const int code = ::kmod_load_resources(index.context_.get()); code < 0)
    return kmod_error(fmt::format("the module index in {}", directory), code);
  return index;
}

Result<std::vector<IndexedModule>> KmodIndex::with_built_in(std::vector<IndexedModule> found,
                                                            std::string name) const {
  std::ranges::replace(name, '-', '_');
  for (const auto& alias : built_in_aliases_) {
    if (::fnmatch(alias.pattern.c_str(), name.c_str(), 0) != 0) continue;
    if (std::ranges::find(found, alias.module, &IndexedModule::name) == found.end())
      found.push_back({alias.module, {}, true});
  }
  return found;
}

Result<std::vector<IndexedModule>> KmodIndex::lookup(const std::string& name) const {
  TRY_ASSIGN(const ModuleList list, look_up(context_.get(), name));
  return with_built_in(describe(list.get()), name);
}

Result<std::vector<IndexedModule>> KmodIndex::lookup_allowed(const std::string& alias) const {
  TRY_ASSIGN(const ModuleList all, look_up(context_.get(), alias));
  if (!all) return with_built_in({}, alias);
  kmod_list* allowed = nullptr;
  if (const int code = ::kmod_module_apply_filter(context_.get(), KMOD_FILTER_BLACKLIST, all.get(), &allowed);
      code < 0)
    return kmod_error(fmt::format("looking up the module '{}'", alias), code);
  const ModuleList owner(allowed);
  return with_built_in(describe(allowed), alias);
}

Result<std::vector<IndexedModule>> KmodIndex::dependencies(const std::string& module) const {
  TRY_ASSIGN(const ModulePtr found, by_name(context_.get(), module));
  const ModuleList list(::kmod_module_get_dependencies(found.get()));
  return describe(list.get());
}

SoftDependencies KmodIndex::soft_dependencies(const std::string& module) const {
  SoftDependencies all;
  auto* iterator = ::kmod_config_get_softdeps(context_.get());
  const std::unique_ptr<kmod_config_iter, decltype(&::kmod_config_iter_free_iter)> owner(
      iterator, ::kmod_config_iter_free_iter);
  while (iterator != nullptr && ::kmod_config_iter_next(iterator)) {
    if (module != ::kmod_config_iter_get_key(iterator)) continue;
    auto one = parse_soft_dependencies(::kmod_config_iter_get_value(iterator));
    std::ranges::move(one.before, std::back_inserter(all.before));
    std::ranges::move(one.after, std::back_inserter(all.after));
  }
  return all;
}

std::string KmodIndex::options(const std::string& module) const {
  const auto found = by_name(context_.get(), module);
  const char* text = found ? ::kmod_module_get_options(found->get()) : nullptr;
  return text != nullptr ? text : "";
}

std::vector<std::string> KmodIndex::firmware(const std::string& module) const {
  std::vector<std::string> names;
  const auto found = by_name(context_.get(), module);
  kmod_list* info = nullptr;
  if (!found || ::kmod_module_get_info(found->get(), &info) < 0) return names;
  const std::unique_ptr<kmod_list, decltype(&::kmod_module_info_free_list)> owner(
      info, ::kmod_module_info_free_list);
  kmod_list* entry = nullptr;
  kmod_list_foreach(entry, info) {
    if (std::strcmp(::kmod_module_info_get_key(entry), "firmware") == 0)
      names.emplace_back(::kmod_module_info_get_value(entry));
  }
  return names;
}

}  // namespace upkeep::initramfs
