#pragma once
// Private to the room: pieces of the HTML page.

#include <string>
#include <string_view>

#include "report/summary.h"

namespace upkeep::report {

// Text from a journal as HTML text, or as the value of an attribute in double quotes.
std::string escaped(std::string_view text);
// CSS class of a stage's or part's colour. Names come from a journal: unknown ones share a class.
std::string_view color_class(std::string_view name);

// Two lanes, one for each kernel, and beneath them the window, enlarged. An <svg> element.
std::string timeline_svg(const Summary& summary);

extern const std::string_view kStyleSheet;

}  // namespace upkeep::report
