#pragma once
// A conversation with one criu about one tree. criu reports where it is by notifications and waits for an
// answer to each: that is how a tree is held at a point, and several trees are brought to the same point.
//
// The order (criu 4.1, cr-dump.c and cr-restore.c):
//   dump     pre-dump          nothing has been touched
//            query-ext-files   every task is stopped, nothing has been read (network-lock comes only for
//            trees
//                              in a network namespace of their own, so it cannot be the hook)
//            post-dump         images complete, tasks still stopped, sockets in repair mode
//   restore  pre-restore       images have been read, nothing has been made
//            setup-namespaces, post-setup-namespaces   only where a namespace is made
//            post-restore      everything has been made; refused: every task is killed, in repair mode, so
//            without a packet pre-resume        out of repair mode, credentials back, one step from running;
//            the answer is ignored post-resume       running

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "engine/criu/worker.h"

namespace upkeep::engine::criu {

class Session {
 public:
  // TITLE names the tree in errors. LOG is where criu was told to write its log.
  Session(Worker worker, std::string title, std::string log)
      : worker_(std::move(worker)), title_(std::move(title)), log_(std::move(log)) {}

  Result<void> request(const std::string& message) { return worker_.send(message); }
  // Takes the messages that are there; answers notifications other than AWAITED.
  Result<void> advance(std::string_view awaited, std::chrono::milliseconds timeout);
  // Answers the notification that it waits at.
  Result<void> answer(bool success);

  const std::string& at() const { return at_; }  // the notification that waits for an answer, or empty
  bool finished() const { return finished_; }    // the request has been answered
  const Response& response() const { return response_; }
  const std::string& title() const { return title_; }
  Worker& worker() { return worker_; }
  // Descriptors that criu opens through /proc/OUR-PID/fd whenever it gets to it: they live as long as this.
  void keep(os::UniqueFd images, os::UniqueFd work) {
    images_ = std::move(images);
    work_ = std::move(work);
  }
  // Why it did not work: from its log, or from how it ended.
  Error failure();

 private:
  os::UniqueFd images_, work_;  // outlive the worker
  Worker worker_;
  std::string title_, log_, at_;
  Response response_;
  bool finished_ = false;
};

// When waiting for criu is given up.
struct Patience {
  std::chrono::steady_clock::time_point until = std::chrono::steady_clock::time_point::max();
  std::function<bool()> cancelled;
  std::string what;  // "the deadline for the snapshot is over"
};

// Lets all run until each waits at NOTIFICATION; empty: until each has finished, successfully.
Result<void> run_until(std::span<Session> sessions, std::string_view notification, const Patience& patience);
Result<void> answer_all(std::span<Session> sessions, bool success);
// Ends all conversations, whatever they are at, and waits until every criu has put its tree back as it was.
void break_off(std::vector<Session>& sessions);

}  // namespace upkeep::engine::criu
