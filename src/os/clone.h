#pragma once
// clone3(2) for a child that has our memory and a stack of its own, for which libc has no call.

#include <linux/sched.h>

#include <cstddef>

namespace upkeep::os {

class ChildStack {
 public:
  explicit ChildStack(std::size_t size);
  ChildStack(const ChildStack&) = delete;
  ~ChildStack();
  bool valid() const { return memory_ != nullptr; }
  void describe(clone_args& arguments) const;

 private:
  std::size_t size_;
  void* memory_;
};

// The child runs BODY(ARGUMENT), which must not return. It has the thread pointer of the calling thread, and
// with it that thread's errno: unless we stand still meanwhile (CLONE_VFORK), it may call nothing of libc.
// Negative: errno.
long clone_to(const clone_args& arguments, void (*body)(void*), void* argument);

}  // namespace upkeep::os
