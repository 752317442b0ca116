#pragma once
// What the rules about one tree have in common: who is inside, and the findings, each reason once.

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "engine/criu/rules.h"

namespace upkeep::engine::criu {

class Ruling {
 public:
  Ruling(const TreeFacts& tree, const MachineFacts& machine);

  const TreeFacts& tree;
  const MachineFacts& machine;

  bool inside(pid_t pid) const { return pids_.contains(pid); }
  bool holds_socket(std::uint64_t inode) const { return sockets_.contains(inode); }
  bool holds_terminal(unsigned index) const {
    return terminals_.contains(index);
  }  // the master of /dev/pts/INDEX
  // Somebody outside who has this open as well: "891 (systemd-journald)"; empty: nobody.
  std::string outsider_holding(const std::string& link) const;
  // The same, of those who may write to it.
  std::string outsider_writing(const std::string& link) const;

  void refuse(const std::string& subject, std::string why, std::string remedy);
  void warn(const std::string& subject, std::string why, std::string remedy);
  std::vector<Finding> take() { return std::move(findings_); }

 private:
  std::string outsider(const std::string& link, const std::function<bool(pid_t)>& matters) const;
  void add(Finding::Severity severity, const std::string& subject, std::string why, std::string remedy);
  std::set<pid_t> pids_;
  std::set<std::uint64_t> sockets_;
  std::set<unsigned> terminals_;
  std::set<std::string> said_;
  std::vector<Finding> findings_;
};

std::string name_of(const TaskFacts& task);                                // "412 (nginx)"
std::string name_of(const TaskFacts& task, const Descriptor& descriptor);  // "412 (nginx), descriptor 7"

void judge_task(const TaskFacts& task, Ruling& ruling);
void judge_descriptor(const TaskFacts& task, const Descriptor& descriptor, Ruling& ruling);
void judge_socket(const TaskFacts& task, const Descriptor& descriptor, Ruling& ruling);
// Terminals are pairs: a slave without its master is nothing.
void judge_terminal(const std::string& subject, dev_t device, Ruling& ruling);

}  // namespace upkeep::engine::criu
