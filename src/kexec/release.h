#pragma once
// Kernel releases ("6.12.117+deb13-cloud-amd64"): which is newer, and which a short name ("6.12") stands for.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace upkeep::kexec {

// Below 0, 0, above 0: LEFT is older, equal, newer. Numbers count as numbers (6.12 is newer than 6.9), a
// release candidate ("7.3-rc2", "7.3~rc2") is older than its release, as for deb-version(7).
int compare_releases(std::string_view left, std::string_view right);

// True where NAME is RELEASE, or its beginning up to a border between numbers: "6.1" stands for 6.1.192-…,
// not for 6.12.
bool stands_for(std::string_view name, std::string_view release);

// The newest of RELEASES that NAME stands for; one that is NAME exactly wins.
std::optional<std::string> newest_match(std::string_view name, const std::vector<std::string>& releases);

}  // namespace upkeep::kexec
