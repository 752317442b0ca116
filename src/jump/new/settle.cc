#include "jump/new/settle.h"

#include "jump/new/stages.h"
#include "operation/journal.h"
#include "os/file.h"
#include "systemd/adoption.h"
#include "systemd/settle_unit.h"

namespace upkeep::jump {

Result<void> prepare_settle(const Manifest& manifest) {
  for (const auto& adoption : manifest.adoptions) TRY(systemd::prepare_adoption(adoption));
  TRY(os::make_directories("/run/upkeep", 0755));
  TRY_ASSIGN(const auto text, to_text(manifest));
  TRY(os::replace_file(kSettlePath, text));
  return systemd::enable_settle_unit(kSettlePath);
}

bool settle_pending() { return os::exists(kSettlePath); }

Result<void> settle(const std::string& manifest_path) {
  TRY_ASSIGN(auto text, os::read_file(manifest_path));
  TRY_ASSIGN(const auto manifest, parse_manifest(text));
  TRY_ASSIGN(auto journal, operation::Journal::open(manifest.state_dir, manifest.id));
  operation::Context context(operation::record_in(journal));
  operation::Stages stages;
  stages.push_back(make_settle_stage(&manifest));
  TRY(operation::apply_stages(stages, context));
  if (manifest.restored) {
    context.emit({"upgrade_ended",
                  "",
                  "everything runs on the new kernel",
                  {{"outcome", "upgraded"}, {"exit_code", 0}}});
  }
  TRY(context.sync());
  return os::remove_tree(manifest_path);
}

}  // namespace upkeep::jump
