#include "kexec/command_line.h"

#include <algorithm>

namespace upkeep::kexec {
namespace {

constexpr std::string_view begin_mark = "upkeep.begin", end_mark = "upkeep.end", own_prefix = "upkeep.";

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

bool same_name(std::string_view a, std::string_view b) {
  const auto spelling = [](char c) { return c == '-' ? '_' : c; };
  return std::ranges::equal(a, b, {}, spelling, spelling);
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false;
  for (const char c : text) {
    if (c == '\0') break;
    if (c == '"') quoted = !quoted;
    if (!quoted && is_space(c)) {
      if (!word.empty()) words.push_back(std::move(word));
      word.clear();
    } else {
      word.push_back(c);
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

void remove_additions(std::vector<std::string>& words) {
  for (;;) {
    const auto begin = std::ranges::find(words, begin_mark);
    if (begin == words.end()) break;
    const auto end = std::find(begin, words.end(), end_mark);
    if (end == words.end()) break;  // somebody cut the line: take away only what is ours by its name
    words.erase(begin, end + 1);
  }
  std::erase_if(words, [](const std::string& word) { return word.starts_with(own_prefix); });
}

}  // namespace

std::string_view parameter_name(std::string_view parameter) {
  if (parameter.starts_with('"')) parameter.remove_prefix(1);
  const auto name = parameter.substr(0, parameter.find('='));
  return name.ends_with('"') ? name.substr(0, name.size() - 1) : name;
}

CommandLine CommandLine::parse(std::string_view text) {
  CommandLine line;
  line.parameters_ = split(text);
  const auto border = std::ranges::find(line.parameters_, "--");
  if (border != line.parameters_.end()) {
    line.init_arguments_.assign(border + 1, line.parameters_.end());
    line.parameters_.erase(border, line.parameters_.end());
  }
  return line;
}

bool CommandLine::has(std::string_view name) const {
  return std::ranges::any_of(parameters_,
                             [&](const auto& word) { return same_name(parameter_name(word), name); });
}

std::string CommandLine::value(std::string_view name) const {
  for (auto word = parameters_.rbegin(); word != parameters_.rend(); ++word) {
    if (!same_name(parameter_name(*word), name)) continue;
    const auto equals = word->find('=');
    if (equals == std::string::npos) return {};
    std::string value = word->substr(equals + 1);
    std::erase(value, '"');
    return value;
  }
  return {};
}

void CommandLine::remove(std::string_view name) {
  std::erase_if(parameters_, [&](const std::string& word) { return same_name(parameter_name(word), name); });
}

void CommandLine::put_first(const std::vector<std::string>& more) {
  parameters_.insert(parameters_.begin(), more.begin(), more.end());
}

std::string CommandLine::text() const {
  std::string text = fmt::format("{}", fmt::join(parameters_, " "));
  if (!init_arguments_.empty())
    text += fmt::format("{}-- {}", text.empty() ? "" : " ", fmt::join(init_arguments_, " "));
  return text;
}

std::string own_command_line(std::string_view running) {
  auto words = split(running);
  remove_additions(words);
  return fmt::format("{}", fmt::join(words, " "));
}

Result<std::string> command_line_for_new_kernel(std::string_view running,
                                                const std::vector<std::string>& additions,
                                                std::uint32_t limit) {
  auto line = CommandLine::parse(own_command_line(running));
  for (const auto* name : {"BOOT_IMAGE", "initrd", "rdinit", "kexec_jump_back_entry", "elfcorehdr"})
    line.remove(name);
  if (!additions.empty()) {
    std::vector<std::string> block{std::string(begin_mark)};
    for (const auto& addition : additions) {
      if (split(addition) != std::vector{addition} || addition == "--" || addition == begin_mark ||
          addition == end_mark)
        return Err("'{}' cannot be added to the kernel command line", addition);
      block.push_back(addition);
    }
    block.emplace_back(end_mark);
    line.put_first(block);
  }
  auto text = line.text();
  if (text.size() > limit)
    return Err("the new kernel's command line would have {} bytes, but the kernel takes only {}: {}",
               text.size(), limit, text);
  return text;
}

}  // namespace upkeep::kexec
