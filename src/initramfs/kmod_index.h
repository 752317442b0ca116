#pragma once
// The module index of one kernel release (modules.dep, modules.alias, modules.builtin, ... as depmod makes
// them), which need not be the running kernel's, together with the machine's own modprobe configuration. A
// thin owner of libkmod; nothing here ever loads a module.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

struct kmod_ctx;

namespace upkeep::initramfs {

struct ModuleRoots {
  std::string sys = "/sys";
  std::string modules = "/lib/modules";  // holds a directory for each release
  std::string firmware = "/lib/firmware";
  std::string running_release;  // empty: uname -r; its index says which of today's drivers could be modules
  std::vector<std::string>
      modprobe_config;  // directories instead of /etc/modprobe.d and its like; empty: the machine's own
};

// One answer of the index.
struct IndexedModule {
  std::string name;  // with '_', as the kernel shows it
  std::string path;  // empty where it is built in
  bool built_in = false;
};

// "softdep NAME pre: a b post: c" of modprobe.d(5), for one module: names or aliases.
struct SoftDependencies {
  std::vector<std::string> before, after;
};
// The part behind the name. What stands before the first "pre:" or "post:" is ignored, as modprobe does.
SoftDependencies parse_soft_dependencies(std::string_view text);

// "NAME.alias=PATTERN" entries of modules.builtin.modinfo, each ended by a zero byte. Device tables of
// built-in drivers are among them only since Linux 6.18 or so; before that the other aliases (file systems,
// crypto) are.
struct BuiltInAlias {
  std::string module, pattern;  // with '_' for '-'
};
std::vector<BuiltInAlias> parse_built_in_aliases(std::string_view text);

class KmodIndex {
 public:
  // Fails where RELEASE has no modules.dep.bin: the message says to run depmod.
  static Result<KmodIndex> open(const std::string& release, const ModuleRoots& roots);

  // All modules that NAME, a module's name or an alias ("pci:v0000...", "fs-ext4"), stands for; none: nothing
  // known. Loadable ones first, in the order of the index; libkmod alone would leave out what is built in as
  // soon as one is loadable.
  Result<std::vector<IndexedModule>> lookup(const std::string& name) const;
  // The same without those that modprobe.d blacklists (an alias does not load them, their name does).
  Result<std::vector<IndexedModule>> lookup_allowed(const std::string& alias) const;

  // What MODULE needs directly or indirectly, in an order in which it can be loaded.
  Result<std::vector<IndexedModule>> dependencies(const std::string& module) const;
  SoftDependencies soft_dependencies(const std::string& module) const;
  std::string options(const std::string& module) const;  // of modprobe.d and of the kernel command line
  // Names of firmware files that the module may ask for (modinfo's "firmware").
  std::vector<std::string> firmware(const std::string& module) const;

 private:
  struct Unref {
    void operator()(kmod_ctx* context) const;
  };
  explicit KmodIndex(kmod_ctx* context) : context_(context) {}
  std::unique_ptr<kmod_ctx, Unref> context_;
  Result<std::vector<IndexedModule>> with_built_in(std::vector<IndexedModule> found, std::string name) const;
  std::vector<BuiltInAlias> built_in_aliases_;
};

}  // namespace upkeep::initramfs
