#pragma once
// What a task may do and where it believes to be: filters of its system calls, keys, settings of prctl(2),
// namespaces.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/model/text.h"

namespace upkeep::engine {

// seccomp(2). Threads have the same filters most of the time: each program is kept once.
struct SeccompFilter {
  Bytes instructions;  // struct sock_filter, one after the other
  bool log = false;    // SECCOMP_FILTER_FLAG_LOG
  bool operator==(const SeccompFilter&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("instructions", self.instructions);
    visit("log", self.log);
  }
};
struct Seccomp {
  std::uint32_t mode = 0;              // SECCOMP_MODE_
  std::vector<std::uint32_t> filters;  // indices into Snapshot::seccomp_filters, the oldest first
  bool operator==(const Seccomp&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("mode", self.mode);
    visit("filters", self.filters);
  }
};

// keyrings(7). Permissions as keyctl_setperm(3) has them.
struct Key {
  std::string type, description;
  std::uint32_t uid = 0, gid = 0, permissions = 0;
  Bytes payload;
  bool operator==(const Key&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("type", self.type);
    visit("description", self.description);
    visit("uid", self.uid);
    visit("gid", self.gid);
    visit("permissions", self.permissions);
    visit("payload", self.payload);
  }
};
// A session keyring with the keys in it.
struct Keyring {
  std::int32_t serial = 0;  // in the kernel that it was read from
  std::string name;         // "_ses": without a name of its own
  std::uint32_t uid = 0, gid = 0, permissions = 0;
  std::vector<Key> keys;
  bool operator==(const Keyring&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("serial", self.serial);
    visit("name", self.name);
    visit("uid", self.uid);
    visit("gid", self.gid);
    visit("permissions", self.permissions);
    visit("keys", self.keys);
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

// What a file system that no other namespace shows contains; parents before children.
struct Node {
  std::string path;        // below the file system's root; empty: the root itself
  std::uint32_t mode = 0;  // st_mode
  std::uint32_t uid = 0, gid = 0;
  std::uint64_t device_number = 0;  // st_rdev of device files
  std::int64_t modified = 0;        // ns
  std::string target;               // of a symbolic link
  Bytes data;                       // of a regular file
  bool operator==(const Node&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("path", self.path);
    visit("mode", self.mode);
    visit("uid", self.uid);
    visit("gid", self.gid);
    visit("device_number", self.device_number);
    visit("modified", self.modified);
    visit("target", self.target);
    visit("data", self.data);
  }
};

// One line of proc_pid_mountinfo(5).
struct Mount {
  std::int32_t id = 0, parent = 0;
  std::uint32_t major = 0, minor = 0;
  std::string root, mount_point, options, fs_type, source, super_options;
  std::int32_t shared = 0, master = 0;  // peer groups; 0: none
  bool unbindable = false;
  // The path at which the host's namespace shows this (device, root); empty: it does not, and the file
  // system is made anew.
  std::string host_path;
  bool inherited = false;  // the host has the same one at the same place
  // Of a file system that is made anew, once for all of its mounts; of one of the host's, where nothing else
  // makes it, the root alone.
  std::vector<Node> contents;
  std::uint64_t pid_namespace = 0;  // of a proc file system: whose processes it shows; 0: those of ours
  bool operator==(const Mount&) const = default;
  static void fields(auto& self, auto& visit) {
    visit("id", self.id);
    visit("parent", self.parent);
    visit("major", self.major);
    visit("minor", self.minor);
    visit("root", self.root);
    visit("mount_point", self.mount_point);
    visit("options", self.options);
    visit("fs_type", self.fs_type);
    visit("source", self.source);
    visit("super_options", self.super_options);
    visit("shared", self.shared);
    visit("master", self.master);
    visit("unbindable", self.unbindable);
    visit("host_path", self.host_path);
    visit("inherited", self.inherited);
    visit("contents", self.contents);
    visit("pid_namespace", self.pid_namespace);
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

}  // namespace upkeep::engine
