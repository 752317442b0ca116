#include "engine/criu/session.h"

#include <poll.h>

#include <algorithm>
#include <vector>

#include "engine/criu/log.h"
#include "os/file.h"

namespace upkeep::engine::criu {
namespace {

constexpr std::chrono::milliseconds kAskAgain(100);  // how often cancellation is looked at

Result<void> wait_for_message(const std::vector<pollfd>& waiting) {
  auto fds = waiting;
  if (::poll(fds.data(), fds.size(), static_cast<int>(kAskAgain.count())) < 0 && errno != EINTR)
    return ErrnoErr("poll");
  return {};
}

}  // namespace

Result<void> Session::advance(std::string_view awaited, std::chrono::milliseconds timeout) {
  while (!finished_ && at_.empty()) {
    auto message = worker_.receive(timeout);
    if (!message && message.error().code() == ETIMEDOUT) return {};
    if (!message && message.error().code() == ECONNRESET) return tl::unexpected(failure());
    if (!message) return tl::unexpected(std::move(message).error().in(title_));
    if (message->type != RequestType::notify) {
      finished_ = true;
      response_ = std::move(*message);
      if (!response_.success) return tl::unexpected(failure());
    } else if (message->notification == awaited) {
      at_ = std::move(message->notification);
    } else {
      TRY_IN(title_, worker_.send(encode_notify_answer(true)));
    }
    timeout = std::chrono::milliseconds(0);
  }
  return {};
}

Result<void> Session::answer(bool success) {
  at_.clear();
  auto sent = worker_.send(encode_notify_answer(success));
  if (!sent) return tl::unexpected(failure());
  return {};
}

Error Session::failure() {
  worker_.hang_up();
  auto status = worker_.wait(std::chrono::seconds(60));
  auto log = os::read_file(log_);
  std::string why = log ? explain(*log) : "";
  if (why.empty()) why = explain(worker_.said());
  if (why.empty() && status && status->signal()) why = "criu was " + status->text();
  if (why.empty() && status && status->code() == 127) why = "criu could not be started";
  if (why.empty() && response_.code != 0) why = "criu: " + errno_text(response_.code);
  if (why.empty()) {
    auto said = worker_.said();
    why = "criu gave no reason" + (said.empty() ? "" : ": " + said.substr(0, said.find('\n')));
  }
  return Error(title_ + ": " + why, response_.code);
}

Result<void> run_until(std::span<Session> sessions, std::string_view notification, const Patience& patience) {
  auto there = [&](const Session& session) {
    return notification.empty() ? session.finished() : session.at() == notification;
  };
  for (;;) {
    std::vector<pollfd> waiting;
    for (auto& session : sessions) {
      if (there(session)) continue;
      TRY(session.advance(notification, std::chrono::milliseconds(0)));
      if (there(session)) continue;
      if (session.finished()) return Err("{}: criu ended before '{}'", session.title(), notification);
      waiting.push_back({session.worker().fd(), POLLIN, 0});
    }
    if (waiting.empty()) return {};
    TRY(wait_for_message(waiting));
    if (patience.cancelled && patience.cancelled()) return tl::unexpected(Error("cancelled", ECANCELED));
    if (std::chrono::steady_clock::now() > patience.until)
      return tl::unexpected(Error(patience.what, ETIMEDOUT));
  }
}

Result<void> answer_all(std::span<Session> sessions, bool success) {
  Result<void> result;
  for (auto& session : sessions) {
    auto answered = session.answer(success);
    if (!answered && result) result = std::move(answered);
  }
  return result;
}

void break_off(std::vector<Session>& sessions) {
  for (auto& session : sessions) session.worker().hang_up();  // all at once; the waiting is the worker's end
  sessions.clear();
}

}  // namespace upkeep::engine::criu
