#include "engine/criu/rpc.h"

#include "engine/criu/wire.h"

namespace upkeep::engine::criu {
namespace {

// Field numbers of criu_opts that are set; the names are rpc.proto's.
namespace opts {
constexpr std::uint32_t images_dir_fd = 1, pid = 2, leave_running = 3, ext_unix_sk = 4, tcp_established = 5,
                        evasive_devices = 6, shell_job = 7, file_locks = 8, log_level = 9, log_file = 10,
                        notify_scripts = 12, parent_img = 14, track_mem = 15, work_dir_fd = 17,
                        link_remap = 18, manage_cgroups_mode = 34, ghost_limit = 35, timeout = 45,
                        network_lock = 64;
}
constexpr std::uint64_t kCgroupsIgnore = 0;  // criu_cg_mode: upkeep puts tasks into their cgroups itself
constexpr std::uint64_t kNetworkLockSkip =
    3;  // criu_network_lock_method: upkeep holds the whole network closed
constexpr std::uint64_t kGhostLimit =
    1U << 30;  // bytes of an unlinked, still open file; criu's own limit is 1 MB

WireWriter encode_options(RequestType type, const Options& options) {
  WireWriter out;
  out.int32(opts::images_dir_fd, options.images_fd);
  if (options.pid > 0) out.int32(opts::pid, options.pid);
  if (type == RequestType::dump) out.boolean(opts::leave_running, options.leave_running);
  out.boolean(opts::ext_unix_sk, true);
  out.boolean(opts::tcp_established, true);
  out.boolean(opts::evasive_devices, true);
  out.boolean(opts::shell_job, options.shell_job);
  out.boolean(opts::file_locks, true);
  out.int32(opts::log_level, options.log_level);
  if (!options.log_file.empty()) out.bytes(opts::log_file, options.log_file);
  out.boolean(opts::notify_scripts, options.notify);
  if (!options.parent_images.empty()) out.bytes(opts::parent_img, options.parent_images);
  if (options.track_mem) out.boolean(opts::track_mem, true);
  if (options.work_fd >= 0) out.int32(opts::work_dir_fd, options.work_fd);
  out.boolean(opts::link_remap, true);
  out.varint(opts::manage_cgroups_mode, kCgroupsIgnore);
  out.varint(opts::ghost_limit, kGhostLimit);
  if (options.timeout_s > 0) out.varint(opts::timeout, options.timeout_s);
  out.varint(opts::network_lock, kNetworkLockSkip);
  return out;
}

WireWriter begin_request(RequestType type) {
  WireWriter out;
  out.varint(1, static_cast<std::uint32_t>(type));
  return out;
}

std::int32_t as_int32(std::uint64_t value) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
}

// Calls EACH for every field of a message inside a message. False: it is broken.
template <typename Each>
bool read_fields(std::string_view text, const Each& each) {
  WireReader reader(text);
  while (auto field = reader.next()) each(*field);
  return !reader.broken();
}

bool read_inner(const WireField& field, Response& out) {
  switch (field.number) {
    case 4:  // criu_restore_resp
      return read_fields(field.bytes, [&](const WireField& inner) {
        if (inner.number == 1) out.pid = as_int32(inner.value);
      });
    case 5:  // criu_notify
      return read_fields(field.bytes, [&](const WireField& inner) {
        if (inner.number == 1) out.notification = std::string(inner.bytes);
        if (inner.number == 2) out.pid = as_int32(inner.value);
      });
    case 8:  // criu_features
      return read_fields(field.bytes, [&](const WireField& inner) {
        if (inner.number == 1) out.mem_track = inner.value != 0;
      });
    case 10:  // criu_version
      return read_fields(field.bytes, [&](const WireField& inner) {
        if (inner.number == 1) out.major = as_int32(inner.value);
        if (inner.number == 2) out.minor = as_int32(inner.value);
        if (inner.number == 4) out.sublevel = as_int32(inner.value);
      });
    default:
      return true;
  }
}

}  // namespace

std::string encode_request(RequestType type, const Options& options) {
  auto out = begin_request(type);
  out.message(2, encode_options(type, options));
  return out.text();
}

std::string encode_version_request() { return begin_request(RequestType::version).text(); }

std::string encode_feature_request() {
  auto out = begin_request(RequestType::feature_check);
  WireWriter features;
  features.boolean(1, true);  // mem_track
  out.message(5, features);
  return out.text();
}

std::string encode_notify_answer(bool success) {
  auto out = begin_request(RequestType::notify);
  out.boolean(3, success);
  return out.text();
}

Result<Response> decode_response(std::string_view text) {
  Response out;
  bool has_type = false, whole = true;
  bool read = read_fields(text, [&](const WireField& field) {
    if (field.number == 1) {
      out.type = static_cast<RequestType>(field.value);
      has_type = true;
    }
    if (field.number == 2) out.success = field.value != 0;
    if (field.number == 7) out.code = as_int32(field.value);
    if (field.number == 9) out.message = std::string(field.bytes);
    if (field.type == WireField::Type::bytes) whole = read_inner(field, out) && whole;
  });
  if (!read || !whole || !has_type)
    return Err("criu sent a message that cannot be read ({} bytes)", text.size());
  return out;
}

}  // namespace upkeep::engine::criu
