#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <cstdlib>

#include "jump/old/run.h"
#include "jump/old/stages.h"
#include "kexec/load.h"
#include "os/child.h"
#include "os/file.h"

namespace upkeep::jump {
namespace {

// Freezing writes everything and leaves the journal of the file system empty, so that the new kernel has
// nothing to replay when it mounts it (ioctl_fs(2), FIFREEZE).
Result<void> freeze_root(bool freeze) {
  TRY_ASSIGN(auto root, os::open_file("/", O_RDONLY | O_DIRECTORY));
  if (::ioctl(root.get(), freeze ? FIFREEZE : FITHAW, 0) < 0) {
    if (!freeze && errno == EINVAL) return {};  // it was not frozen
    return ErrnoErr("{} the root file system", freeze ? "freeze" : "thaw");
  }
  return {};
}

// Seconds from the start of the running kernel to its user space, as systemd saw it; 0 where nobody knows.
double boot_seconds() {
  auto text = os::run_checked({"systemctl", "show", "-p", "UserspaceTimestampMonotonic", "--value"});
  return text ? std::strtod(text->c_str(), nullptr) / 1e6 : 0;
}

// What a dry run can say of the window: its first part has just been measured; a jump takes about as long as
// the running kernel took from its start to its user space, and restoring reads what the snapshot wrote, with
// the engine's own start on top.
void predict(const Run& run, const operation::Context& context) {
  const double measured = static_cast<double>(os::realtime_ns() - run.manifest.window_begin_ns) / 1e9;
  const double boot = boot_seconds();
  const double restore = 1 + 2 * measured;
  context.fact(
      {{"predicted_window_s", measured + boot + restore},
       {"predicted_from",
        fmt::format("park and snapshot, measured: {:.2f} s; the boot of the running kernel: {:.2f} s; "
                    "restoring, estimated from the snapshot: {:.2f} s",
                    measured, boot, restore)}});
}

class JumpStage final : public OldKernelStage {
 public:
  using SharedStage::SharedStage;
  std::string_view name() const override { return "jump"; }

  Result<void> apply_with(Run& run, operation::Context& context) override {
    if (run.plan.dry_run) {
      predict(run, context);
      return {};
    }
    context.fact({{"jumping", true}});
    TRY(context.sync());
    TRY(freeze_root(true));
    Error error = kexec::jump();  // comes back only to say why not
    context.fact({{"jumping", false}});
    TRY(freeze_root(false));
    return tl::unexpected(std::move(error));
  }

  Result<void> undo(const operation::UndoContext&) override { return freeze_root(false); }
};

}  // namespace

std::unique_ptr<operation::Stage> make_jump_stage(Run* run) { return std::make_unique<JumpStage>(run); }

}  // namespace upkeep::jump
