#pragma once
// criu's log, read for its last words.

#include <string>
#include <string_view>
#include <vector>

namespace upkeep::engine::criu {

// The texts of "(00.012345) 412: Error (criu/files-ext.c:94): Can't dump file ..." lines, oldest first,
// without the prefixes.
std::vector<std::string> error_lines(std::string_view log);

// The error that began the others, in criu's words, followed by what it means and what to do where that is
// known: "criu: Can't ... (what to do)".
std::string explain(std::string_view log);

}  // namespace upkeep::engine::criu
