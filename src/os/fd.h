#pragma once
// An owned file descriptor, and a borrowed view of one. Whoever takes an UniqueFd closes it; whoever takes an
// Fd does not. Everything here opens with O_CLOEXEC.

#include <unistd.h>

#include <utility>

namespace upkeep::os {

class UniqueFd;

// Somebody else's descriptor.
class Fd {
 public:
  constexpr explicit Fd(int fd) : fd_(fd) {}
  Fd(const UniqueFd& owner);  // NOLINT(google-explicit-constructor): a view is free to make
  Fd(UniqueFd&&) = delete;    // a view of a temporary would dangle
  constexpr int get() const { return fd_; }

 private:
  int fd_;
};

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

inline Fd::Fd(const UniqueFd& owner) : fd_(owner.get()) {}

}  // namespace upkeep::os
