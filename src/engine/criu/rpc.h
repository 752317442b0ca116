#pragma once
// criu's requests and answers (https://criu.org/RPC; images/rpc.proto of criu 4.1): the part of them that is
// used here.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"

namespace upkeep::engine::criu {

// criu_req_type
enum class RequestType : std::uint32_t {
  empty = 0,
  dump = 1,
  restore = 2,
  check = 3,
  notify = 6,
  feature_check = 9,
  version = 10,
  single_pre_dump = 13,
};

// criu_opts. Folders are descriptors of ours: criu opens them through /proc/OUR-PID/fd.
struct Options {
  int images_fd = -1;
  int work_fd = -1;  // log and statistics; the images' folder where it is not set
  pid_t pid = 0;     // root of the tree, for dumps
  std::string log_file;
  std::int32_t log_level = 2;  // 1 errors, 2 warnings, 3 info, 4 debug
  bool shell_job = false;
  bool track_mem = false;
  std::string parent_images;  // relative to the images' folder; empty: none
  bool notify = true;
  bool leave_running = false;
  std::uint32_t timeout_s = 0;  // for stopping the tasks; 0: criu's own
};

std::string encode_request(RequestType type, const Options& options);
std::string encode_version_request();
std::string encode_feature_request();
std::string encode_notify_answer(bool success);

// criu_resp
struct Response {
  RequestType type = RequestType::empty;
  bool success = false;
  std::string notification;                // criu_notify.script, "post-dump"
  pid_t pid = 0;                           // criu_restore_resp.pid or criu_notify.pid: the root's
  std::int32_t code = 0;                   // cr_errno
  std::string message;                     // cr_errmsg
  std::optional<bool> mem_track;           // criu_features
  int major = 0, minor = 0, sublevel = 0;  // criu_version
};
Result<Response> decode_response(std::string_view text);

}  // namespace upkeep::engine::criu
