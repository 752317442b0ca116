#include "engine/criu/task_facts.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>

#include "engine/destination.h"
#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::engine::criu {
namespace {

constexpr std::array kNamespaces = {
    "mnt", "user", "uts", "ipc", "net", "pid", "cgroup", "time", "time_for_children"};

std::uint64_t number_in_brackets(std::string_view link) {
  auto open = link.rfind('[');
  std::uint64_t value = 0;
  if (open == std::string_view::npos || !link.ends_with(']')) return 0;
  auto [end, error] = std::from_chars(link.data() + open + 1, link.data() + link.size() - 1, value);
  return error == std::errc() && end == link.data() + link.size() - 1 ? value : 0;
}

std::optional<std::string_view> next_line(std::string_view& text) {
  if (text.empty()) return std::nullopt;
  auto end = text.find('\n');
  auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

std::string_view next_word(std::string_view& line) {
  auto begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  line.remove_prefix(begin);
  auto end = line.find_first_of(" \t");
  auto word = line.substr(0, end);
  line.remove_prefix(end == std::string_view::npos ? line.size() : end);
  return word;
}

// Inode numbers only: device numbers of stat(2) differ between a descriptor and its path on btrfs and
// overlayfs.
bool is_displaced(const Descriptor& descriptor) {
  if (!descriptor.status || !descriptor.link.starts_with('/') || descriptor.link.ends_with(" (deleted)"))
    return false;
  if (descriptor.link.starts_with("/memfd:")) return false;
  struct stat there = {};
  return ::lstat(descriptor.link.c_str(), &there) != 0 || there.st_ino != descriptor.status->st_ino;
}

// Not answered by the kernel (no kcmp(2)): taken as not shared.
bool shares_memory_with(pid_t pid, pid_t other) {
  constexpr int kKcmpVm = 1;  // KCMP_VM of linux/kcmp.h
  return ::syscall(SYS_kcmp, pid, other, kKcmpVm, 0, 0) == 0;
}

std::vector<Descriptor> read_descriptors(const std::string& folder) {
  std::vector<Descriptor> result;
  auto names = os::list_directory(folder + "/fd");
  if (!names) return result;
  for (const auto& name : *names) {
    auto link = os::read_link(folder + "/fd/" + name);
    if (!link) continue;  // closed meanwhile
    Descriptor descriptor;
    std::from_chars(name.data(), name.data() + name.size(), descriptor.number);
    descriptor.link = std::move(*link);
    if (auto info = os::read_file(folder + "/fdinfo/" + name)) descriptor.info = std::move(*info);
    struct stat status = {};
    if (::stat((folder + "/fd/" + name).c_str(), &status) == 0) descriptor.status = status;
    descriptor.displaced = is_displaced(descriptor);
    result.push_back(std::move(descriptor));
  }
  return result;
}

// Byte 4 of an ELF file is its class: 1 for 32 bits, 2 for 64.
int word_size_of(const std::string& program) {
  auto file = os::open_file(program, O_RDONLY);
  std::array<std::byte, 5> head = {};
  if (!file || !os::pread_all(*file, head, 0)) return 0;
  if (head[0] != std::byte{0x7f}) return 0;
  return head[4] == std::byte{1} ? 32 : 64;
}

std::string security_label(const std::string& folder) {
  auto label = os::read_file(folder + "/attr/apparmor/current");
  if (!label) label = os::read_file(folder + "/attr/current");
  if (!label) return "";
  while (!label->empty() && (label->back() == '\n' || label->back() == '\0')) label->pop_back();
  return *label;
}

}  // namespace

std::uint64_t Descriptor::inode() const { return number_in_brackets(link); }

std::map<std::string, std::uint64_t, std::less<>> read_namespaces(const std::string& task_folder) {
  std::map<std::string, std::uint64_t, std::less<>> result;
  for (const char* kind : kNamespaces) {
    if (auto link = os::read_link(task_folder + "/ns/" + kind)) result[kind] = number_in_brackets(*link);
  }
  return result;
}

std::vector<Mapping> parse_mappings(std::string_view text) {
  std::vector<Mapping> result;
  while (auto line = next_line(text)) {
    next_word(*line);  // addresses
    Mapping mapping;
    mapping.permissions = std::string(next_word(*line));
    next_word(*line);  // offset
    next_word(*line);  // device
    auto inode = next_word(*line);
    auto [end, error] = std::from_chars(inode.data(), inode.data() + inode.size(), mapping.inode);
    if (inode.empty() || error != std::errc() || end != inode.data() + inode.size()) continue;
    auto name = line->find_first_not_of(" \t");
    if (name != std::string_view::npos) mapping.name = std::string(line->substr(name));
    result.push_back(std::move(mapping));
  }
  return result;
}

std::vector<std::int64_t> fdinfo_numbers(std::string_view info, std::string_view key) {
  std::vector<std::int64_t> result;
  while (auto line = next_line(info)) {
    auto word = next_word(*line);
    if (!word.ends_with(':') || word.substr(0, word.size() - 1) != key) continue;
    auto text = next_word(*line);
    std::int64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) result.push_back(value);
  }
  return result;
}

Result<TaskFacts> read_task(pid_t pid, const std::string& proc) {
  const std::string folder = fmt::format("{}/{}", proc, pid);
  TRY_ASSIGN(auto stat_text, os::read_file(folder + "/stat"));
  TRY_ASSIGN(auto stat, os::parse_stat(stat_text));
  TRY_ASSIGN(auto status, os::read_file(folder + "/status"));
  TRY_ASSIGN(auto maps, os::read_file(folder + "/maps"));
  TaskFacts facts;
  facts.pid = pid;
  facts.comm = stat.comm;
  facts.state = stat.state;
  facts.session = stat.session;
  facts.terminal = stat.tty_nr;
  facts.status = os::parse_key_values(status);
  facts.namespaces = read_namespaces(folder);
  facts.descriptors = read_descriptors(folder);
  facts.mappings = parse_mappings(maps);
  facts.security = security_label(folder);
  facts.word_size = word_size_of(folder + "/exe");
  facts.rseq_size = rseq_size_of(folder);
  facts.shares_memory = proc == "/proc" && shares_memory_with(pid, stat.ppid);
  return facts;
}

Holders read_holders(const std::string& proc) {
  Holders holders;
  auto names = os::list_directory(proc);
  if (!names) return holders;
  for (const auto& name : *names) {
    pid_t pid = 0;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || end != name.data() + name.size()) continue;
    auto descriptors = os::list_directory(proc + "/" + name + "/fd");
    if (!descriptors) continue;
    for (const auto& number : *descriptors) {
      auto link = os::read_link(proc + "/" + name + "/fd/" + number);
      if (link) holders.emplace(std::move(*link), pid);
    }
  }
  return holders;
}

}  // namespace upkeep::engine::criu
