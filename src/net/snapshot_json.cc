#include "net/snapshot.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "net/sysctl.h"

// Every field by its name, both ways. A field that is missing is an error: manifests are written and read by
// the same format version, which the manifest around this checks.
namespace upkeep::net {
namespace {

using Json = nlohmann::json;

std::string to_hex(const std::string& bytes) {
  std::string text;
  for (char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

// Throws what nlohmann::json throws for a wrong type: caught once, in snapshot_from_json.
std::string from_hex(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    unsigned char value = 0;
    const char* start = text.data() + i;
    if (i + 2 > text.size() || std::from_chars(start, start + 2, value, 16).ptr != start + 2) {
      throw Json::type_error::create(302, "not hexadecimal: " + text, nullptr);
    }
    bytes.push_back(static_cast<char>(value));
  }
  return bytes;
}

// Goes over an object's fields in one order for writing and for reading.
class Writer {
 public:
  template <typename T>
  void field(const char* name, const T& value) {
    json[name] = value;
  }
  void field(const char* name, const std::vector<Attribute>& value) {
    json[name] = Json::array();
    for (const auto& attribute : value) json[name].push_back({attribute.type, to_hex(attribute.bytes)});
  }
  Json json = Json::object();
};

class Reader {
 public:
  explicit Reader(const Json& source) : json(source) {}
  template <typename T>
  void field(const char* name, T& value) {
    json.at(name).get_to(value);
  }
  void field(const char* name, std::vector<Attribute>& value) {
    for (const auto& item : json.at(name)) {
      value.push_back({item.at(0).get<std::uint16_t>(), from_hex(item.at(1).get<std::string>())});
    }
  }
  const Json& json;
};

template <typename Pass, typename T>
requires std::same_as<std::remove_const_t<T>, Link>
void fields(Pass& pass, T& link) {
  pass.field("name", link.name);
  pass.field("index", link.index);
  pass.field("hardware", link.hardware);
  pass.field("kind", link.kind);
  pass.field("address", link.address);
  pass.field("permanent_address", link.permanent_address);
  pass.field("bus", link.bus);
  pass.field("mtu", link.mtu);
  pass.field("queue_length", link.queue_length);
  pass.field("group", link.group);
  pass.field("flags", link.flags);
  pass.field("state", link.state);
  pass.field("alias", link.alias);
  pass.field("other_names", link.other_names);
  pass.field("master", link.master);
  pass.field("lower", link.lower);
  pass.field("lower_elsewhere", link.lower_elsewhere);
  pass.field("qdisc", link.qdisc);
  pass.field("kind_data", link.kind_data);
  pass.field("port_data", link.port_data);
}

template <typename Pass, typename T>
requires std::same_as<std::remove_const_t<T>, Address>
void fields(Pass& pass, T& address) {
  pass.field("family", address.family);
  pass.field("link", address.link);
  pass.field("local", address.local);
  pass.field("peer", address.peer);
  pass.field("broadcast", address.broadcast);
  pass.field("prefix", address.prefix);
  pass.field("scope", address.scope);
  pass.field("label", address.label);
  pass.field("flags", address.flags);
  pass.field("protocol", address.protocol);
  pass.field("metric", address.metric);
  pass.field("preferred", address.preferred);
  pass.field("valid", address.valid);
}

template <typename Pass, typename T>
requires std::same_as<std::remove_const_t<T>, Route>
void fields(Pass& pass, T& route) {
  pass.field("text", route.text);
  pass.field("family", route.family);
  pass.field("destination_bits", route.destination_bits);
  pass.field("source_bits", route.source_bits);
  pass.field("tos", route.tos);
  pass.field("protocol", route.protocol);
  pass.field("scope", route.scope);
  pass.field("type", route.type);
  pass.field("table", route.table);
  pass.field("flags", route.flags);
  pass.field("attributes", route.attributes);
}

template <typename Pass, typename T>
requires std::same_as<std::remove_const_t<T>, Rule>
void fields(Pass& pass, T& rule) {
  pass.field("family", rule.family);
  pass.field("destination_bits", rule.destination_bits);
  pass.field("source_bits", rule.source_bits);
  pass.field("tos", rule.tos);
  pass.field("table", rule.table);
  pass.field("action", rule.action);
  pass.field("flags", rule.flags);
  pass.field("attributes", rule.attributes);
}

template <typename Pass, typename T>
requires std::same_as<std::remove_const_t<T>, Neighbour>
void fields(Pass& pass, T& neighbour) {
  pass.field("family", neighbour.family);
  pass.field("link", neighbour.link);
  pass.field("destination", neighbour.destination);
  pass.field("address", neighbour.address);
  pass.field("state", neighbour.state);
  pass.field("flags", neighbour.flags);
  pass.field("protocol", neighbour.protocol);
}

template <typename T>
Json list_to_json(const std::vector<T>& list) {
  Json json = Json::array();
  for (const auto& item : list) {
    Writer writer;
    fields(writer, item);
    json.push_back(std::move(writer.json));
  }
  return json;
}

template <typename T>
void list_from_json(const Json& json, std::vector<T>& list) {
  for (const auto& item : json) {
    Reader reader(item);
    fields(reader, list.emplace_back());
  }
}

}  // namespace

Json to_json(const Snapshot& snapshot) {
  Json sysctls = Json::object();
  for (const auto& sysctl : snapshot.sysctls) sysctls[sysctl.path] = sysctl.value;
  return {{"links", list_to_json(snapshot.links)},           {"addresses", list_to_json(snapshot.addresses)},
          {"routes", list_to_json(snapshot.routes)},         {"rules", list_to_json(snapshot.rules)},
          {"neighbours", list_to_json(snapshot.neighbours)}, {"sysctls", std::move(sysctls)}};
}

Result<Snapshot> snapshot_from_json(const Json& json) {
  try {
    Snapshot snapshot;
    list_from_json(json.at("links"), snapshot.links);
    list_from_json(json.at("addresses"), snapshot.addresses);
    list_from_json(json.at("routes"), snapshot.routes);
    list_from_json(json.at("rules"), snapshot.rules);
    list_from_json(json.at("neighbours"), snapshot.neighbours);
    for (const auto& [path, value] : json.at("sysctls").items()) {
      snapshot.sysctls.push_back({path, value.get<std::string>()});
    }
    sort_for_writing(snapshot.sysctls);  // JSON objects have no order
    return snapshot;
  } catch (const Json::exception& error) {
    return Err("network snapshot: {}", error.what());
  }
}

}  // namespace upkeep::net
