#pragma once
// A state folder of a test's own, with journals in it.

#include <filesystem>
#include <fstream>
#include <string>

namespace upkeep::cli {

class StateFolder {
 public:
  StateFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "upkeep-state-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~StateFolder() { std::filesystem::remove_all(path_); }
  StateFolder(const StateFolder&) = delete;
  StateFolder& operator=(const StateFolder&) = delete;

  const std::string& path() const { return path_; }
  void append(const std::string& id, const std::string& text) const {
    std::filesystem::create_directories(path_ + "/" + id);
    std::ofstream(path_ + "/" + id + "/journal.jsonl", std::ios::app) << text;
  }

 private:
  std::string path_;
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
