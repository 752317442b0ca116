#pragma once
// The new kernel's command line: what upkeep adds for this one boot, and the machine's own, as the boot
// loader gave it. The additions stand between the parameters "upkeep.begin" and "upkeep.end" (the kernel and
// systemd ignore both: an unknown parameter with a dot counts as some module's), so that the next upgrade
// takes exactly those away again, also when what they mean has changed since: the line does not grow, however
// often a machine is upgraded.
//
// Additions stand first: of several memmap= the kernel's decompressor looks only at the first four when it
// chooses a random address, and those that keep it away from carried memory must be among them. Of most other
// parameters that are given twice the kernel takes the last, so that the operator's word counts.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace upkeep::kexec {

class CommandLine {
 public:
  // TEXT as in /proc/cmdline. Split as the kernel's next_arg() does: at white space outside double quotes.
  static CommandLine parse(std::string_view text);

  // Each as written, quotes included. Names are compared as the kernel does: '-' and '_' are the same.
  const std::vector<std::string>& parameters() const { return parameters_; }
  const std::vector<std::string>& init_arguments() const { return init_arguments_; }
  bool has(std::string_view name) const;
  std::string value(
      std::string_view name) const;    // of the last one, without quotes; empty where there is none
  void remove(std::string_view name);  // all of that name
  void put_first(const std::vector<std::string>& more);  // before all others
  std::string text() const;

 private:
  std::vector<std::string> parameters_, init_arguments_;
};

// What PARAMETER is called: "root" of "root=UUID=…".
std::string_view parameter_name(std::string_view parameter);
// RUNNING is /proc/cmdline. Taken away: what an earlier upgrade added, and what belongs to the boot loader's
// initramfs (BOOT_IMAGE=, initrd=, rdinit=) or to one special boot (elfcorehdr=, kexec_jump_back_entry=).
// Everything else is kept. Each of ADDITIONS is one parameter. An error where the line is longer than LIMIT
// bytes (BootImage::command_line_size): the kernel would cut it off silently.
Result<std::string> command_line_for_new_kernel(std::string_view running,
                                                const std::vector<std::string>& additions,
                                                std::uint32_t limit);

// RUNNING without what upkeep added: what the operator knows as the machine's own.
std::string own_command_line(std::string_view running);

}  // namespace upkeep::kexec
