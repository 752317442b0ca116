#include "report/html.h"

#include <gmock/gmock.h>

#include <set>
#include <string_view>

#include "fixture.h"

namespace upkeep::report {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Tags {
  std::set<std::string> names, attributes;
  std::string error;  // why the page is not well-formed
};

// Takes ` name="value"` off the front of REST; false where that is not what it begins with. (No std::regex:
// what GCC 12 makes of it with sanitizers is a warning.)
bool take_attribute(std::string_view& rest, std::set<std::string>& names) {
  auto begin = rest.find_first_not_of(" \n");
  if (begin == 0 || begin == std::string_view::npos) return false;
  auto end = rest.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-:", begin);
  if (end == begin || end == std::string_view::npos || !rest.substr(end).starts_with("=\"")) return false;
  auto close = rest.find('"', end + 2);
  if (close == std::string_view::npos || rest.substr(end, close - end).find('<') != std::string_view::npos)
    return false;
  names.emplace(rest.substr(begin, end - begin));
  rest.remove_prefix(close + 1);
  return true;
}

bool has_bare_ampersand(std::string_view text) {
  for (auto at = text.find('&'); at != std::string_view::npos; at = text.find('&', at + 1)) {
    auto entity = text.substr(at, text.substr(at).find(';') + 1);
    if (entity != "&amp;" && entity != "&lt;" && entity != "&gt;" && entity != "&quot;" && entity != "&#39;")
      return true;
  }
  return false;
}

// Reads a page as a browser's tokenizer would, strictly: every tag is closed in order, every < and & is one.
Tags read_tags(std::string_view page) {
  static const std::set<std::string, std::less<>> kVoid = {"meta", "br", "!DOCTYPE"};
  Tags tags;
  std::vector<std::string> open;
  if (has_bare_ampersand(page)) return tags.error = "a bare &", tags;
  for (auto at = page.find('<'); at != std::string_view::npos; at = page.find('<', at)) {
    auto end = page.find('>', at);
    if (end == std::string_view::npos) return tags.error = "a tag has no end", tags;
    std::string_view tag = page.substr(at + 1, end - at - 1);
    at = end;
    if (tag.starts_with("/")) {
      if (open.empty() || open.back() != tag.substr(1))
        return tags.error = "unexpected " + std::string(tag), tags;
      open.pop_back();
      continue;
    }
    const bool closed = tag.ends_with("/");
    if (closed) tag.remove_suffix(1);
    const std::string name(tag.substr(0, tag.find_first_of(" \n")));
    tags.names.insert(name);
    std::string_view rest = tag.substr(name.size());
    while (take_attribute(rest, tags.attributes)) {
    }
    if (!rest.empty() && name != "!DOCTYPE") return tags.error = "odd attributes: " + std::string(tag), tags;
    if (!closed && !kVoid.contains(name)) open.push_back(name);
  }
  if (!open.empty()) tags.error = open.back() + " is never closed";
  return tags;
}

TEST(TagReader, SeesWhatIsWrong) {
  EXPECT_EQ(read_tags("<p class=\"a\">x &lt; y<br></p>").error, "");
  EXPECT_NE(read_tags("<p>x</b>").error, "");
  EXPECT_NE(read_tags("<p>").error, "");
  EXPECT_NE(read_tags("<p>a & b</p>").error, "");
  EXPECT_NE(read_tags("<p class=\"a\"b\">x</p>").error, "");
  EXPECT_NE(read_tags("<p onclick=x>x</p>").error, "");
  EXPECT_TRUE(read_tags("<p onload=\"x\">x</p>").attributes.contains("onload"));
}

const std::set<std::string> kKnownTags = {
    "!DOCTYPE", "html",    "head",  "meta", "title", "style", "body", "main", "header",
    "footer",   "section", "div",   "span", "p",     "h1",    "h2",   "b",    "i",
    "ul",       "li",      "table", "tr",   "th",    "td",    "svg",  "defs", "pattern",
    "br",       "code",    "g",     "rect", "path",  "text",  "tspan"};

void expect_harmless(const std::string& page) {
  Tags tags = read_tags(page);
  EXPECT_EQ(tags.error, "");
  for (const auto& name : tags.names) EXPECT_TRUE(kKnownTags.contains(name)) << name;
  for (const auto& name : tags.attributes) {
    EXPECT_FALSE(name.starts_with("on")) << name;
    EXPECT_FALSE(name == "src" || name == "href" || name == "xlink:href") << name;
  }
}

TEST(Html, IsWellFormedAndNeedsNothingElse) {
  for (const auto& name : all_journals()) {
    SCOPED_TRACE(name);
    auto events = journal(name);
    for (std::size_t length = 0; length <= events.size(); ++length) {
      expect_harmless(html_page(summarise(std::span(events).first(length))));
    }
  }
}

TEST(Html, SurvivesNonsense) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    std::string page = html_page(summarise(random_journal(seed)));
    expect_harmless(page);
    EXPECT_THAT(page, Not(HasSubstr("\"nan"))) << "a coordinate";
    EXPECT_THAT(page, Not(HasSubstr("inf\"")));
  }
}

TEST(Html, EscapesWhatJournalsSay) {
  std::string page = html_page(summarise(journal("hostile")));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  EXPECT_THAT(page, Not(HasSubstr("<iframe")));
  EXPECT_THAT(page, Not(HasSubstr("\33")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;")) << "shown, not hidden";
}

TEST(Html, NotEvenInvalidText) {
  auto events = journal("upgraded");
  events.back().message = "\xff\xfe<b>";
  events.push_back({"warning", "x", "\xc3", {}, 0, ""});
  expect_harmless(html_page(summarise(events)));
}

TEST(Html, ShowsTheWindowAndItsParts) {
  std::string page = html_page(summarise(journal("upgraded")));
  EXPECT_THAT(page, HasSubstr("Now running 7.3.4+deb14-cloud-amd64"));
  EXPECT_THAT(page, HasSubstr("7.228 s"));
  for (const char* part : {"0.214", "1.420", "4.109", "0.462", "0.952", "0.071"}) {
    EXPECT_THAT(page, HasSubstr(std::string(part) + " s")) << part;
  }
  EXPECT_THAT(page, HasSubstr("redis-server"));
  EXPECT_THAT(page, HasSubstr("Old kernel"));
}

TEST(Html, ShowsWhatWasUndone) {
  std::string page = html_page(summarise(journal("undone")));
  EXPECT_THAT(page, HasSubstr("Still running 6.12.117+deb13-cloud-amd64"));
  EXPECT_THAT(page, HasSubstr("undo of snapshot"));
  EXPECT_THAT(page, HasSubstr("not entered"));
  EXPECT_THAT(page, HasSubstr("io_uring instance"));
}

}  // namespace
}  // namespace upkeep::report
