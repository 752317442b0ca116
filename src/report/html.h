#pragma once
// An upgrade as a page: one file that needs nothing else (no scripts, no fonts, no network), light and dark.

#include <string>

#include "report/summary.h"

namespace upkeep::report {

std::string html_page(const Summary& summary);

}  // namespace upkeep::report
