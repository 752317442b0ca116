#pragma once
// Who a task is and what it may do: credentials(7), capabilities(7), settings of prctl(2).

#include <cstdint>
#include <vector>

#include "engine/model/document/comparison.h"

namespace upkeep::engine {

// credentials(7), capabilities(7); capability sets are bit masks.
struct Credentials {
  std::uint32_t uid = 0, euid = 0, suid = 0, fsuid = 0, gid = 0, egid = 0, sgid = 0, fsgid = 0;
  std::vector<std::uint32_t> groups;
  std::uint64_t inheritable = 0, permitted = 0, effective = 0, bounding = 0, ambient = 0;
  std::uint32_t securebits = 0;
  bool no_new_privs = false;
  bool operator==(const Credentials&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("uid", self.uid);
    visit("euid", self.euid);
    visit("suid", self.suid);
    visit("fsuid", self.fsuid);
    visit("gid", self.gid);
    visit("egid", self.egid);
    visit("sgid", self.sgid);
    visit("fsgid", self.fsgid);
    visit("groups", self.groups);
    visit("inheritable", self.inheritable);
    visit("permitted", self.permitted);
    visit("effective", self.effective);
    visit("bounding", self.bounding);
    visit("ambient", self.ambient);
    visit("securebits", self.securebits);
    visit("no_new_privs", self.no_new_privs);
  }
};

// prctl(2) settings of one thread, as the kernel gives them back.
struct ThreadSettings {
  std::uint32_t store_bypass = 0, indirect_branch = 0, l1d_flush = 0;  // PR_GET_SPECULATION_CTRL
  std::int32_t tsc = 0;                                                // PR_GET_TSC
  std::int32_t mce_kill = 0;                                           // PR_MCE_KILL_GET
  bool io_flusher = false;                                             // PR_SET_IO_FLUSHER
  bool operator==(const ThreadSettings&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("store_bypass", self.store_bypass);
    visit("indirect_branch", self.indirect_branch);
    visit("l1d_flush", self.l1d_flush);
    visit("tsc", self.tsc);
    visit("mce_kill", self.mce_kill);
    visit("io_flusher", self.io_flusher);
  }
};

// What the thread has not switched off itself is a matter of kernel and processor.
void make_comparable(ThreadSettings& value, const ThreadSettings* other, Comparison& comparison);

}  // namespace upkeep::engine
