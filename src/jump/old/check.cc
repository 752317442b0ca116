#include "jump/old/check.h"

#include <unistd.h>

#include <algorithm>

#include "engine/engine.h"
#include "initramfs/root_device.h"
#include "jump/old/boot_needs.h"
#include "jump/old/memory_needed.h"
#include "jump/old/run.h"
#include "kexec/load.h"
#include "machine/used_files.h"
#include "memory/carry_store.h"
#include "net/snapshot.h"
#include "os/file.h"

namespace upkeep::jump {
namespace {

using Severity = Finding::Severity;

class Checker {
 public:
  explicit Checker(const CheckRequest& request) : request_(request) {}

  CheckReport look() {
    if (::geteuid() != 0) {
      refuse("this user", "only root can park tasks and load kernels", "run it as root");
      return std::move(report_);
    }
    look_at_kexec();
    look_at_root();
    if (!request_.kernel.empty()) look_at_target();
    if (auto findings = net::check())
      add(std::move(*findings));
    else
      refuse("the network", findings.error().message(), "");
    if (!request_.carry.empty()) look_at_tasks();
    return std::move(report_);
  }

 private:
  void add(std::vector<Finding> findings) {
    for (auto& finding : findings) report_.findings.push_back(std::move(finding));
  }
  void refuse(std::string what, std::string why, std::string remedy) {
    report_.findings.push_back({Severity::refusal, std::move(what), std::move(why), std::move(remedy)});
  }
  void approve(std::string what, std::string why = "") {
    report_.findings.push_back({Severity::ok, std::move(what), std::move(why), ""});
  }

  // FINDINGS of one subject; where nothing stands in the way a line says so.
  void add_or_approve(std::vector<Finding> findings, const std::string& subject, const std::string& why) {
    const bool refused = std::any_of(findings.begin(), findings.end(),
                                     [](const auto& f) { return f.severity == Severity::refusal; });
    add(std::move(findings));
    if (!refused) approve(subject, why);
  }

  void look_at_kexec() { add_or_approve(kexec::check(), "kexec", "this kernel lets another one be loaded"); }

  void look_at_root() {
    auto mounts = os::read_mountinfo(1);
    if (!mounts) return refuse("the root file system", mounts.error().message(), "");
    auto root = initramfs::find_root(*mounts);
    if (!root) return refuse("the root file system", root.error().message(), "");
    auto uuid = machine::probe_uuid(root->device);
    if (!uuid)
      return refuse("the root file system", uuid.error().message(),
                    "give it a UUID (tune2fs -U random, xfs_admin -U generate)");
    add_or_approve(initramfs::check_root(*root),
                   fmt::format("root file system {} ({})", root->device, root->fs_type),
                   "the new kernel can mount it");
    report_.root = {root->device, root->major,   root->minor,
                    *uuid,        root->fs_type, root->options + "," + root->super_options};
  }

  void look_at_target() {
    auto target = kexec::find_target(request_.kernel);
    if (!target)
      return refuse(fmt::format("kernel {}", request_.kernel), target.error().message(),
                    "install it, or name another with --to");
    add(kexec::check_target(*target));
    auto modules = initramfs::modules_for(boot_needs(report_.root), target->release);
    if (!modules)
      return refuse(fmt::format("modules of {}", target->release), modules.error().message(),
                    "install that kernel's modules and run depmod");
    approve(fmt::format("kernel {}", target->release),
            fmt::format("its initramfs takes {} modules", modules->load_order.size()));
    report_.target = std::move(*target);
  }

  void look_at_tasks() {
    auto set = engine::collect(request_.carry);
    if (!set)
      return refuse("--carry", set.error().message(),
                    "name the root of a tree that is there, and that upkeep was not started from");
    report_.set = std::move(*set);
    auto lowest = lowest_safe_pid();
    if (!lowest) return refuse("the process list", lowest.error().message(), "");
    auto findings = engine::check(report_.set, {*lowest, report_.target ? report_.target->release : ""});
    if (auto mounts = os::read_mountinfo(1)) {
      for (auto& finding : machine::check_files(report_.set.pids(), *mounts))
        findings.push_back(std::move(finding));
    }
    const auto tasks = report_.set.pids().size();
    add_or_approve(std::move(findings), fmt::format("{} {} to carry", tasks, tasks == 1 ? "task" : "tasks"),
                   "they can be carried");
    report_.findings.push_back(memory::check_room(free_bytes_needed(report_.set)));
  }

  const CheckRequest& request_;
  CheckReport report_;
};

}  // namespace

bool CheckReport::possible() const {
  return std::none_of(findings.begin(), findings.end(),
                      [](const auto& finding) { return finding.severity == Severity::refusal; });
}

std::string CheckReport::first_refusal() const {
  for (const auto& finding : findings) {
    if (finding.severity != Severity::refusal) continue;
    return finding.remedy.empty() ? fmt::format("{}: {}", finding.what, finding.why)
                                  : fmt::format("{}: {} ({})", finding.what, finding.why, finding.remedy);
  }
  return "";
}

CheckReport check_machine(const CheckRequest& request) { return Checker(request).look(); }

}  // namespace upkeep::jump
