#pragma once
// Network namespaces for tests: made, entered by a thread of their own, gone with their last descriptor.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "os/child.h"
#include "os/fd.h"
#include "os/file.h"

namespace upkeep::net {

class Namespace {
 public:
  static Namespace make() {
    Namespace made;
    std::thread([&] {
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "network namespaces need root";
      auto fd = os::open_file("/proc/thread-self/ns/net", O_RDONLY);
      ASSERT_TRUE(fd) << fd.error().message();
      made.fd_ = std::move(*fd);
    }).join();
    return made;
  }

  // Runs BODY in a thread that is inside; sockets that it opens belong to this namespace for good.
  void in(const std::function<void()>& body) const {
    std::thread([&] {
      ASSERT_EQ(::setns(fd_.get(), CLONE_NEWNET), 0);
      body();
    }).join();
  }

  // `ip` with each of these, in one process.
  void ip(const std::vector<std::string>& commands) const {
    os::SpawnOptions options;
    for (const auto& command : commands) options.input += command + "\n";
    in([&] {
      auto done = os::run_checked({"ip", "-batch", "-"}, options);
      EXPECT_TRUE(done) << options.input << (done ? "" : done.error().message());
    });
  }
  std::string run(const std::string& command) const {
    std::string out;
    in([&] {
      auto done = os::run_checked({"sh", "-c", command});
      EXPECT_TRUE(done) << command << ": " << (done ? "" : done.error().message());
      if (done) out = *done;
    });
    return out;
  }

  int fd() const { return fd_.get(); }
  // For `ip link add ... netns`.
  std::string path() const {
    return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_.get());
  }

 private:
  os::UniqueFd fd_;
};

// What the kernel of this machine can do, found by trying it in a namespace.
inline bool kernel_has_link_kind(const std::string& kind) {
  bool has = false;
  Namespace::make().in([&] {
    auto done = os::run({"ip", "link", "add", "probe0", "type", kind});
    // "vlan" alone is not a complete description: only "Unknown device type" says that there is none.
    has = done && done->err.find("Unknown device type") == std::string::npos;
  });
  return has;
}

}  // namespace upkeep::net
