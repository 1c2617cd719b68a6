// A storm's result as a JSON value; StormJson is its text.
#pragma once

#include <nlohmann/json.hpp>

#include "vmm/storm/storm.h"

namespace faultline {

nlohmann::ordered_json StormResultToJson(const StormResult& result);

}  // namespace faultline
