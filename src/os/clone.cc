#include "os/clone.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstdint>

namespace upkeep::os {

ChildStack::ChildStack(std::size_t size)
    : size_(size),
      memory_(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)) {
  if (memory_ == MAP_FAILED) memory_ = nullptr;
}

ChildStack::~ChildStack() {
  if (valid()) ::munmap(memory_, size_);
}

void ChildStack::describe(clone_args& arguments) const {
  arguments.stack = reinterpret_cast<std::uintptr_t>(memory_);
  arguments.stack_size = size_;
}

long clone_to(const clone_args& arguments, void (*body)(void*), void* argument) {
  long result = SYS_clone3;
  register void* for_body asm("r8") = argument;
  register void (*to_run)(void*) asm("r9") = body;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r8, %%rdi\n\t"
      "call *%%r9\n\t"
      "ud2\n"
      "1:"
      : "+a"(result)
      : "D"(&arguments), "S"(sizeof arguments), "r"(for_body), "r"(to_run)
      : "rcx", "r11", "memory");
  return result;
}

}  // namespace upkeep::os
