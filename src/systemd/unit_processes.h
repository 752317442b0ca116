#pragma once
// systemd's units by what the kernel knows of them: their cgroups.

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/result.h"

namespace upkeep::systemd {

// Where the version 2 hierarchy is mounted, beside version 1 too; empty: nowhere.
std::string unified_hierarchy();

// The processes of the unit's cgroup and of those below it, without those whose parents are among them:
// what names them all to collect(). NAME without a suffix means a service. An error: no cgroup below
// HIERARCHY has that name, several have it (units of several users), or there is no process in it.
Result<std::vector<pid_t>> roots_of_unit(const std::string& name, const std::string& hierarchy);

}  // namespace upkeep::systemd
