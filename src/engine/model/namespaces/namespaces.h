#pragma once
// Namespaces that are other ones than the host's (namespaces(7)).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "engine/model/document/comparison.h"
#include "engine/model/document/validation.h"
#include "engine/model/namespaces/mounts.h"

namespace upkeep::engine {

// user_namespaces(7): COUNT IDs from INSIDE on are those from OUTSIDE on in the namespace of the reader.
struct IdRange {
  std::uint32_t inside = 0, outside = 0, count = 0;
  bool operator==(const IdRange&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("inside", self.inside);
    visit("outside", self.outside);
    visit("count", self.count);
  }
};

struct UserNamespace {
  std::vector<IdRange> uids, gids;
  bool setgroups = true;  // allowed
  bool operator==(const UserNamespace&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("uids", self.uids);
    visit("gids", self.gids);
    visit("setgroups", self.setgroups);
  }
};

struct UtsNames {
  std::string host_name, domain_name;
  bool operator==(const UtsNames&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("host_name", self.host_name);
    visit("domain_name", self.domain_name);
  }
};

// time_namespaces(7): how far its clocks are ahead of Snapshot::clocks, in nanoseconds; less than 0: behind.
struct ClockDifference {
  std::int64_t monotonic = 0, boottime = 0;
  bool operator==(const ClockDifference&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("monotonic", self.monotonic);
    visit("boottime", self.boottime);
  }
};

// cgroup_namespaces(7): the root of one in one hierarchy, as it is called from outside; cgroups(7).
struct CgroupRoot {
  std::string controllers;  // as in /proc/PID/cgroup; empty: those of version 2
  std::string path;
  bool operator==(const CgroupRoot&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("controllers", self.controllers);
    visit("path", self.path);
  }
};

// Which ones they are, by their numbers in the kernel that they were read from; 0: the reader's own. That of
// time: the one that Snapshot::clocks are read in.
struct NamespaceNumbers {
  std::uint64_t user = 0, uts = 0, ipc = 0, mnt = 0, net = 0, cgroup = 0, time = 0;
  std::uint64_t time_for_children = 0;  // where it is another one than `time`
  auto operator<=>(const NamespaceNumbers&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("user", self.user);
    visit("uts", self.uts);
    visit("ipc", self.ipc);
    visit("mnt", self.mnt);
    visit("net", self.net);
    visit("cgroup", self.cgroup);
    visit("time", self.time);
    visit("time_for_children", self.time_for_children);
  }
};

// Those that are other ones than the host's, as processes have them together. Where several of these have one
// in common (`numbers`), it is made once; mounts and the network are told by the first one that has them.
struct Namespaces {
  NamespaceNumbers numbers;
  std::optional<UserNamespace> user;
  std::optional<UtsNames> uts;
  std::vector<Mount> mounts;  // parents before children
  std::optional<ClockDifference> time, time_for_children;
  std::string network;  // what src/net has read in it: a JSON document
  std::vector<CgroupRoot> cgroup_roots;
  bool operator==(const Namespaces&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("numbers", self.numbers);
    visit("user", self.user);
    visit("uts", self.uts);
    visit("mounts", self.mounts);
    visit("time", self.time);
    visit("time_for_children", self.time_for_children);
    visit("network", self.network);
    visit("cgroup_roots", self.cgroup_roots);
  }
};

// What is said of each, by the first that has it or by all of them.
Result<void> validate(const std::vector<Namespaces>& all, const KnownObjects& known);
void make_comparable(Namespaces& value, const Namespaces* other, Comparison& comparison);

}  // namespace upkeep::engine
