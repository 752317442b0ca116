#include "engine/model/snapshot.h"

#include <algorithm>
#include <nlohmann/json.hpp>

// Scalar: vector instructions are what emulated CPUs are slowest at.
#define XXH_VECTOR XXH_SCALAR
#ifndef __clang_analyzer__  // which would look into the library, and take a string_view for null there
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include "common/fields.h"

namespace upkeep::engine {
namespace {

constexpr std::string_view kFormat = "upkeep native snapshot";
constexpr std::string_view kBeforeContent = ",\n\"mappings\": ", kBeforeSnapshot = ",\n\"snapshot\": ";
// What the checksum is of: mappings and snapshot as they are written there.
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

nlohmann::json to_json(const Snapshot& snapshot) { return nlohmann::json::parse(encode(snapshot)); }

std::uint64_t checksum(std::string_view bytes) { return XXH64(bytes.data(), bytes.size(), 0); }

std::uint64_t checksum(const Bytes& bytes) {
  return checksum({reinterpret_cast<const char*>(bytes.data.data()), bytes.data.size()});
}

std::string write_manifest(const Snapshot& snapshot) {
  HeldOnce<Mapping> mappings;  // processes that were forked have most of them in common
  const auto text = encode<Zeros::left_out>(snapshot, &mappings);
  const auto content = encode<Zeros::left_out>(mappings.values()) + std::string(kBeforeSnapshot) + text;
  return fmt::format("{{\"format\": \"{}\", \"version\": {}, \"checksum\": {}{}{}}}\n", kFormat,
                     kFormatVersion, checksum(content), kBeforeContent, content);
}

Result<Snapshot> read_manifest(std::string text) {
  const auto checksum_here = checksum(content_of(text));
  TRY_ASSIGN(const auto parsed, JsonDocument::parse(std::move(text)));
  const auto& document = parsed.root();
  const rapidjson::Value nothing;
  auto member = [&](const char* name) -> const rapidjson::Value& {
    if (!document.IsObject()) return nothing;
    const auto found = document.FindMember(name);
    return found == document.MemberEnd() ? nothing : found->value;
  };
  const auto& format = member("format");
  if (!format.IsString() || detail::text_of(format) != kFormat) return Err("not a snapshot of upkeep's");
  const auto& version = member("version");
  if (!version.IsInt()) return Err("a snapshot without the number of its version");
  if (version.GetInt() != kFormatVersion)
    return Err("a snapshot of version {}; this upkeep reads version {}", version.GetInt(), kFormatVersion);
  const auto& checksum_there = member("checksum");
  const auto& content = member("snapshot");
  if (content.IsNull()) return Err("the document holds no snapshot");
  if (!checksum_there.IsUint64() || checksum_there.GetUint64() != checksum_here)
    return Err("the checksum is wrong: it was altered");
  auto mappings = decode<std::vector<Mapping>>(member("mappings"));
  if (!mappings) return tl::unexpected(std::move(mappings).error().in("mappings"));
  TRY_ASSIGN(auto snapshot, decode<Snapshot>(content, &*mappings));
  TRY(validate(snapshot));
  return snapshot;
}

}  // namespace upkeep::engine
