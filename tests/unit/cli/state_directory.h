#pragma once
// A state directory of a test's own, with journals in it.

#include <fstream>
#include <string>

#include "../../test_directory.h"

namespace upkeep::cli {

class StateDirectory {
 public:
  const std::string& path() const { return test_.path(); }
  void append(const std::string& id, const std::string& text) const {
    test_.make(id);
    std::ofstream(test_ / (id + "/journal.jsonl"), std::ios::app) << text;
  }

 private:
  TestDirectory test_;
};

inline std::string begun(const std::string& id, int second) {
  return R"({"kind":"upgrade_begun","time_ns":17954466)" + std::to_string(10 + second) +
         R"(000000000,"kernel":"6.12.1","data":{"id":")" + id +
         R"(","from":"6.12.1","to":"7.3.4","carry":[812]}})"
         "\n";
}
inline std::string ended(const std::string& outcome) {
  return R"({"kind":"upgrade_ended","message":"why not","time_ns":1795446699000000000,"kernel":"6.12.1","data":{"outcome":")" +
         outcome + "\"}}\n";
}

}  // namespace upkeep::cli
