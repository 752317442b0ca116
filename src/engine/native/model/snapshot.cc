#include "engine/native/model/snapshot.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/native/model/fields.h"

namespace upkeep::native {
namespace {

constexpr std::string_view kFormat = "upkeep native snapshot";
constexpr std::string_view kBeforeContent = ",\n\"snapshot\": ";
// The deepest place of a real one is about a dozen levels down; decoding recurses.
constexpr int kDeepest = 64;

// Looked at before anything is parsed: brackets outside of strings.
bool nested_too_deeply(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDeepest) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

// What the checksum is of: the snapshot as it is written there.
std::string_view content_of(std::string_view text) {
  const auto begin = text.find(kBeforeContent), end = text.rfind('}');
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) return {};
  text = text.substr(0, end);
  return text.substr(begin + kBeforeContent.size());
}

}  // namespace

const Terminal* Snapshot::find_terminal(std::uint64_t device) const {
  auto found = std::find_if(terminals.begin(), terminals.end(),
                            [device](const auto& t) { return t.device == device; });
  return found == terminals.end() ? nullptr : &*found;
}

const KeptFile* Snapshot::kept_file(std::uint64_t device, std::uint64_t inode) const {
  auto found = std::find_if(kept_files.begin(), kept_files.end(),
                            [&](const auto& file) { return file.device == device && file.inode == inode; });
  return found == kept_files.end() ? nullptr : &*found;
}

std::set<std::uint64_t> Snapshot::socket_inodes() const {
  std::set<std::uint64_t> inodes;
  for (const auto& file : files) {
    if (file.socket) inodes.insert(file.socket->inode);
  }
  return inodes;
}

std::vector<std::int32_t> Snapshot::roots() const {
  std::vector<std::int32_t> result;
  for (const auto& process : processes) {
    if (find(process.ppid) == nullptr) result.push_back(process.pid);
  }
  return result;
}

nlohmann::json to_json(const Snapshot& snapshot) { return encode(snapshot); }

std::uint64_t checksum(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (char c : bytes) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  return hash;
}

std::uint64_t checksum(const Bytes& bytes) {
  return checksum({reinterpret_cast<const char*>(bytes.data.data()), bytes.data.size()});
}

std::string write_manifest(const Snapshot& snapshot) {
  const auto content = encode<Zeros::left_out>(snapshot).dump();
  return fmt::format("{{\"format\": \"{}\", \"version\": {}, \"checksum\": {}{}{}}}\n", kFormat,
                     kFormatVersion, checksum(content), kBeforeContent, content);
}

Result<Snapshot> read_manifest(std::string_view text) {
  if (nested_too_deeply(text)) return Err("nested more deeply than any snapshot is");
  auto document = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return Err("not a whole JSON document: it was cut short or altered");
  if (!document.is_object() || document.value("format", nlohmann::json()) != kFormat)
    return Err("not a snapshot of upkeep's");
  const auto version = document.value("version", nlohmann::json());
  if (version != kFormatVersion)
    return Err("a snapshot of version {}; this upkeep reads version {}", version.dump(), kFormatVersion);
  const auto content = document.find("snapshot");
  if (content == document.end()) return Err("the document holds no snapshot");
  if (document.value("checksum", nlohmann::json()) != checksum(content_of(text)))
    return Err("the checksum is wrong: it was altered");
  TRY_ASSIGN(auto snapshot, decode<Snapshot>(*content));
  TRY(validate(snapshot));
  return snapshot;
}

}  // namespace upkeep::native
