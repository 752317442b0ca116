#include <fcntl.h>
#include <nlohmann/json.hpp>

#include "initramfs/image.h"
#include "initramfs/modules.h"
#include "jump/init_config.h"
#include "jump/old/boot_needs.h"
#include "jump/old/memory_needed.h"
#include "jump/old/run.h"
#include "jump/old/stages.h"
#include "kexec/command_line.h"
#include "kexec/fast_boot.h"
#include "kexec/load.h"
#include "machine/huge_page_pools.h"
#include "memory/physical_range.h"
#include "net/snapshot.h"
#include "os/file.h"
#include "os/mount.h"

namespace upkeep::jump {
namespace {

constexpr const char* kInitProgram = "/usr/lib/upkeep/upkeep-init";

// Everything that takes long and can be done while all services run: memory for the images, the initramfs,
// the boot image.
class PrepareStage final : public OldKernelStage {
 public:
  using SharedStage::SharedStage;
  std::string_view name() const override { return "prepare"; }

  Result<void> apply_with(Run& run, operation::Context& context) override {
    TRY(mount_work_directory(run, context));
    context.progress("reserving memory for the images");
    TRY(reserve_store(run, context));
    context.progress("building the initramfs");
    TRY(build_initramfs(run, context));
    context.progress("loading the new kernel");
    return load_kernel(run, context);
  }

  // The store's pages are free again when their process is gone; the pool that they return to shrinks here.
  Result<void> undo(const operation::UndoContext& context) override {
    const auto& facts = context.facts;
    Result<void> first;
    auto note = [&first](Result<void> result) {
      if (!result && first) first = std::move(result);
    };
    if (facts.value("loading", false)) note(kexec::unload());
    if (facts.contains("reservation")) note(memory::undo_reservation(facts["reservation"]));
    const std::string directory = facts.value("work_folder", "");
    if (!directory.empty() && os::is_mount_point(directory)) note(os::unmount(directory, true));
    if (!directory.empty()) note(os::remove_tree(directory));
    return first;
  }

 private:
  // A tmpfs of its own: images are memory, nobody but root reads them, and one unmount removes them all.
  static Result<void> mount_work_directory(Run& run, const operation::Context& context) {
    context.fact({{"work_folder", run.work_directory()}});
    TRY(os::make_directories(run.work_directory(), 0700));
    TRY(os::mount_file_system("upkeep", run.work_directory(), "tmpfs",
                              "nosuid,nodev,noexec,mode=0700,size=90%"));
    return os::make_directories(run.images_directory(), 0700);
  }

  static Result<void> reserve_store(Run& run, const operation::Context& context) {
    TRY_ASSIGN(run.manifest.huge_pages, machine::pools_in_use(run.set.pids()));  // before ours are in them
    const auto images = estimated_image_bytes(run.set);
    TRY_ASSIGN(auto plan, memory::plan_reservation(store_bytes_needed(images)));
    context.fact({{"reservation", plan.undo}, {"estimated_image_bytes", images}});
    TRY_ASSIGN(auto store, memory::CarryStore::reserve(plan));
    run.store.emplace(std::move(store));
    context.fact({{"store_bytes", run.store->size()}, {"store_ranges", run.store->ranges().size()}});
    TRY_ASSIGN(auto writer, run.store->writer(run.plan.id));
    run.writer.emplace(std::move(writer));
    return {};
  }

  static Result<void> build_initramfs(Run& run, const operation::Context& context) {
    TRY_ASSIGN(auto network, net::take_snapshot());
    auto needs = boot_needs(run.root);
    needs.optional_names = net::modules_of(network);
    TRY_ASSIGN(auto modules, initramfs::modules_for(needs, run.target->release));
    InitConfig config;
    config.id = run.plan.id;
    config.state_dir = run.plan.state_dir;
    config.root = run.root;
    config.highest_pid = run.set.highest_id();
    initramfs::ImagePlan plan;
    plan.init_program = kInitProgram;
    plan.init_config = to_json(config).dump(2);
    plan.modules = std::move(modules.load_order);
    TRY_ASSIGN(auto image, initramfs::build_file(plan, initramfs_path(run)));
    context.fact({{"initramfs_bytes", image.size}, {"initramfs_modules", plan.modules.size()}});
    return {};
  }

  static Result<void> load_kernel(Run& run, const operation::Context& context) {
    TRY_ASSIGN(auto iomem, os::read_file("/proc/iomem"));
    TRY_ASSIGN(auto ram, memory::parse_system_ram(iomem));
    TRY_ASSIGN(auto firmware, memory::firmware_ram());
    const auto reserved = memory::widened(run.store->ranges(), firmware);
    run.manifest.store = reserved;
    const auto& header = run.target->header;
    TRY_ASSIGN(auto window, memory::kexec_window(ram, reserved, header.init_size + 64 * memory::kMiB));
    TRY_ASSIGN(auto running, os::read_file("/proc/cmdline"));
    auto additions = memory::kernel_parameters(reserved, run.store->ranges().front().start);
    const unsigned hz = run.target->config ? kexec::config_number(*run.target->config, "CONFIG_HZ") : 0;
    for (const auto& fast :
         kexec::fast_boot_parameters(kexec::probe_boot_facts(hz), kexec::own_command_line(running))) {
      additions.push_back(fast.parameter);
      if (!fast.undo_file.empty()) run.manifest.settle_writes.emplace_back(fast.undo_file, fast.undo_value);
    }
    kexec::LoadPlan plan;
    plan.image = run.target->image;
    plan.initramfs = initramfs_path(run);
    TRY_ASSIGN(plan.command_line,
               kexec::command_line_for_new_kernel(running, additions, header.command_line_size));
    plan.window = kexec::Window{window.start, window.end()};
    TRY_ASSIGN(bool somebodys, kexec::is_loaded());
    if (somebodys) return Err("somebody else has loaded a kernel meanwhile; unload it with `kexec -u`");
    context.fact({{"loading", true}, {"command_line", plan.command_line}});
    return kexec::load(plan);
  }

  static std::string initramfs_path(const Run& run) { return run.work_directory() + "/initramfs.cpio"; }
};

}  // namespace

std::unique_ptr<operation::Stage> make_prepare_stage(Run* run) { return std::make_unique<PrepareStage>(run); }

}  // namespace upkeep::jump
