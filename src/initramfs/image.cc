#include "initramfs/image.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <set>

#include <nlohmann/json.hpp>

#include "initramfs/cpio.h"
#include "initramfs/decompress.h"
#include "os/file.h"

namespace upkeep::initramfs {
namespace {

// The directories above PATH, outermost first, those that are there already left out.
Result<void> add_parents(CpioWriter& cpio, const std::string& path) {
  for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const auto directory = path.substr(0, slash);
    const auto name = directory.starts_with('/') ? directory.substr(1) : directory;
    if (!cpio.paths().contains(name)) TRY(cpio.add_directory(directory));
  }
  return {};
}

Result<void> add_skeleton(CpioWriter& cpio) {
  for (const char* directory : {"dev", "etc", "modules", "proc", "run", "sys", "sysroot"})
    TRY(cpio.add_directory(directory));
  TRY(cpio.add_device("dev/console", S_IFCHR, 5, 1));
  return cpio.add_device("dev/null", S_IFCHR, 1, 3, 0666);
}

Result<void> add_modules(CpioWriter& cpio, const ImagePlan& plan) {
  auto order = nlohmann::json::array();
  for (const auto& module : plan.modules) {
    TRY_ASSIGN(const std::string bytes, read_module(module.path));
    const auto file = fmt::format("{:02}-{}.ko", order.size(), module.name);
    TRY(cpio.add_file("modules/" + file, bytes));
    order.push_back(
        {{"file", file}, {"name", module.name}, {"options", module.options}, {"required", module.required}});
  }
  // options are bytes of somebody else's configuration files: never a reason to throw
  return cpio.add_file("modules/order",
                       order.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

Result<void> add_firmware(CpioWriter& cpio, const ImagePlan& plan) {
  std::set<std::string> names;
  for (const auto& module : plan.modules) names.insert(module.firmware.begin(), module.firmware.end());
  for (const auto& name : names) {
    TRY_ASSIGN(const std::string bytes, os::read_file(plan.firmware_root + "/" + name));
    const auto path = "lib/firmware/" + name;
    TRY(add_parents(cpio, path));
    TRY(cpio.add_file(path, bytes));
  }
  return {};
}

template <typename Header>
bool read_header(std::string_view bytes, std::uint64_t offset, Header& header) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof header) return false;
  std::memcpy(&header, bytes.data() + offset, sizeof header);
  return true;
}

}  // namespace

Result<void> check_static_program(std::string_view elf) {
  Elf64_Ehdr header;
  if (!read_header(elf, 0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64 ||
      (header.e_type != ET_EXEC && header.e_type != ET_DYN) || header.e_phentsize != sizeof(Elf64_Phdr))
    return Err("not a program for x86-64");
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!read_header(elf, header.e_phoff + std::uint64_t{i} * sizeof segment, segment))
      return Err("the program is cut short");
    if (segment.p_type == PT_INTERP)
      return Err("the program is not static: it would not run in an initramfs");
  }
  return {};
}

Result<Image> build(const ImagePlan& plan, os::Fd out) {
  TRY_ASSIGN(const std::string init, os::read_file(plan.init_program));
  TRY_IN(plan.init_program, check_static_program(init));
  CpioWriter cpio(out);
  TRY(add_skeleton(cpio));
  TRY(cpio.add_file("init", init, 0755));
  TRY(cpio.add_file("etc/upkeep-init.json", plan.init_config, 0600));
  TRY(add_modules(cpio, plan));
  TRY(add_firmware(cpio, plan));
  for (const auto& file : plan.more_files) {
    TRY(add_parents(cpio, file.path));
    TRY(cpio.add_file(file.path, file.content, file.permissions));
  }
  TRY(cpio.finish());
  return Image{cpio.size(), {cpio.paths().begin(), cpio.paths().end()}};
}

Result<Image> build_file(const ImagePlan& plan, const std::string& path) {
  ::unlink(path.c_str());
  TRY_ASSIGN(const auto file, os::open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
  auto image = build(plan, file);
  if (image) return image;
  ::unlink(path.c_str());
  return tl::unexpected(std::move(image).error().in("building the initramfs"));
}

}  // namespace upkeep::initramfs
