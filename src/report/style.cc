#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <cstdlib>
#include <string_view>

#include "report/text.h"

namespace upkeep::report {

Style style_of(int fd) {
  Style style;
  auto environment = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string_view(value != nullptr ? value : "");
  };
  // Asked by name, not through setlocale(3): that would change what the rest of the program does with
  // numbers.
  if (locale_t locale = newlocale(LC_CTYPE_MASK, "", nullptr)) {
    style.unicode = std::string_view(nl_langinfo_l(CODESET, locale)) == "UTF-8";
    freelocale(locale);
  }
  if (isatty(fd) != 1) return style;
  bool dumb = environment("TERM").empty() || environment("TERM") == "dumb";
  style.live = !dumb;
  style.color = !dumb && environment("NO_COLOR").empty();  // https://no-color.org
  winsize size = {};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) style.width = size.ws_col;
  return style;
}

}  // namespace upkeep::report
