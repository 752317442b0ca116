#pragma once
// Mount namespaces (mount_namespaces(7)): what is mounted where.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/text.h"
#include "engine/model/document/comparison.h"
#include "engine/model/document/validation.h"

namespace upkeep::engine {

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

// Whether a path is absolute and leads down only.
bool stays_below(std::string_view path);
Result<void> validate(const std::vector<Mount>& mounts, const KnownObjects& known);
// Mounts of one namespace: their numbers, their peer groups and file systems are others, times of directories
// change with what is mounted in them, and what the host has mounted or unmounted in between is no difference.
void make_comparable(std::vector<Mount>& mounts, const std::vector<Mount>* other, Comparison& comparison);

}  // namespace upkeep::engine
