#pragma once
// The kernel's own memory, to be read only: for what no file of /proc and no system call tells, and what must
// not be guessed. A BPF program (BPF_PROG_TYPE_SYSCALL, 5.14 on) does nothing but copy bytes by
// bpf_probe_read_kernel(), which answers EFAULT for an address that is none; nothing is run in any task, and
// nothing stays behind. It takes CAP_BPF and CAP_PERFMON, a kernel with BTF, and no
// lockdown=confidentiality.
//
// What is read may change meanwhile unless whoever changes it stands still.

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "common/result.h"
#include "os/btf.h"
#include "os/fd.h"

namespace upkeep::os {

class KernelMemory {
 public:
  static Result<KernelMemory> open();
  // The only one of this process, opened when it is first asked for, and closed with the last Use.
  static const Result<KernelMemory>& own();
  // While there is one, own() stays open: outside of them nobody has descriptors of it. Not while others run
  // that ask.
  class Use {
   public:
    Use();
    Use(const Use&) = delete;
    ~Use();
  };

  const Btf& layout() const { return layout_; }
  Result<void> read(std::uint64_t address, std::span<std::byte> into) const;
  template <typename T>
  Result<T> value(std::uint64_t address) const {
    T value = {};
    TRY(read(address, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  // The member of the structure at ADDRESS, which is an integer or a pointer of at most 8 bytes. The error
  // names what this kernel does not have.
  Result<std::uint64_t> number(std::uint64_t address, const char* structure, const char* path) const;
  // struct task_struct of the calling thread.
  Result<std::uint64_t> current_task() const;
  // What a descriptor of ours leads to: what its struct file keeps as private_data (struct socket of a
  // socket).
  Result<std::uint64_t> behind(Fd fd) const;
  // The sum over all CPUs of the 8 bytes at ADDRESS, of memory that every CPU has for itself.
  Result<std::uint64_t> per_cpu_sum(std::uint64_t address) const;

 private:
  struct Question;
  explicit KernelMemory(Btf layout) : layout_(std::move(layout)) {}
  Result<void> ask(Question& question) const;
  Result<void> learn_cpus();
  Btf layout_;
  UniqueFd map_, program_;
  std::vector<std::uint64_t> cpus_;  // what is added to an address for each of them
};

}  // namespace upkeep::os
