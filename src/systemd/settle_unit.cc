#include "systemd/settle_unit.h"

#include <unistd.h>

#include "os/file.h"

namespace upkeep::systemd {

Result<void> enable_settle_unit(const std::string& manifest, const std::string& run_dir) {
  const std::string units = run_dir + "/systemd/system", wants = units + "/multi-user.target.wants";
  TRY(os::make_directories(wants));
  TRY(os::replace_file(
      units + "/upkeep-settle.service",
      "[Unit]\nDescription=Ends the live kernel upgrade\nAfter=multi-user.target\n"
      "ConditionPathExists=" +
          manifest + "\n[Service]\nType=oneshot\nExecStart=/usr/sbin/upkeep settle\nTimeoutStartSec=10min\n",
      0644));
  if (::symlink("../upkeep-settle.service", (wants + "/upkeep-settle.service").c_str()) < 0 &&
      errno != EEXIST)
    return ErrnoErr("enable upkeep-settle.service");
  return {};
}

}  // namespace upkeep::systemd
