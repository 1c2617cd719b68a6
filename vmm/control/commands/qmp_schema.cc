// query-qmp-schema: the types of object-add, device_add and migrate-set-parameters, by which clients choose between old
// and new spellings.
//
// Source: QEMU docs/devel/qapi-code-gen, "Client JSON Protocol introspection".
#include <nlohmann/json.hpp>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/object_types.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

namespace {

constexpr const char* kNothing = "nothing";
constexpr const char* kObjectAdd = "object-add-arg";
constexpr const char* kObjectKind = "object-type";
constexpr const char* kDeviceAdd = "device_add-arg";
constexpr const char* kMigrateSetParameters = "migrate-set-parameters-arg";

json Builtin(std::string_view name, std::string_view json_type) {
  return {{"name", name}, {"meta-type", "builtin"}, {"json-type", json_type}};
}

json Member(std::string_view name, std::string_view type) { return {{"name", name}, {"type", type}}; }

json OptionalMember(std::string_view name, std::string_view type) {
  json member = Member(name, type);
  member["default"] = nullptr;
  return member;
}

json CommandInfo(std::string_view name, std::string_view argument) {
  return {
      {"name", name}, {"meta-type", "command"}, {"arg-type", argument}, {"ret-type", kNothing}, {"allow-oob", false}};
}

json ObjectInfo(std::string_view name, json members) {
  return {{"name", name}, {"meta-type", "object"}, {"members", std::move(members)}};
}

bool IsObject(const ObjectType& type) { return type.parent == "memory-backend"; }

std::string_view SchemaType(std::string_view property_type) {
  if (property_type == "bool") return "bool";
  return property_type == "int" ? "int" : "str";
}

}  // namespace

json QueryQmpSchema(const json& arguments, VmControl& /*vm*/) {
  Arguments(arguments).Finish();
  json schema = json::array({Builtin("str", "string"), Builtin("int", "int"), Builtin("bool", "boolean"),
                             ObjectInfo(kNothing, json::array()), CommandInfo("object-add", kObjectAdd)});
  // The command line takes secrets too, as every VM of libvirt's has one.
  json kinds = json::array({"secret"});
  json variants = json::array({{{"case", "secret"}, {"type", kNothing}}});
  for (const ObjectType& type : ObjectTypes()) {
    if (!IsObject(type)) continue;
    kinds.push_back(type.name);
    variants.push_back({{"case", type.name}, {"type", type.name}});
    json members = json::array();
    for (const PropertyType& property : type.properties) {
      members.push_back(OptionalMember(property.name, SchemaType(property.type)));
    }
    schema.push_back(ObjectInfo(type.name, std::move(members)));
  }
  json object_add = ObjectInfo(kObjectAdd, json::array({Member("qom-type", kObjectKind), Member("id", "str")}));
  object_add["tag"] = "qom-type";
  object_add["variants"] = std::move(variants);
  schema.push_back(std::move(object_add));
  schema.push_back({{"name", kObjectKind}, {"meta-type", "enum"}, {"values", std::move(kinds)}});

  json device_add = CommandInfo("device_add", kDeviceAdd);
  device_add["features"] = json::array({"json-cli", "json-cli-hotplug"});
  schema.push_back(std::move(device_add));
  schema.push_back(ObjectInfo(
      kDeviceAdd, json::array({Member("driver", "str"), OptionalMember("bus", "str"), OptionalMember("id", "str")})));
  schema.push_back(CommandInfo("migrate-set-parameters", kMigrateSetParameters));
  schema.push_back(ObjectInfo(kMigrateSetParameters, json::array({OptionalMember("max-bandwidth", "int")})));
  return schema;
}

}  // namespace faultline
