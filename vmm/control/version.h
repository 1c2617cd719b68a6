// The version of the program, from the project() line of CMake.
#pragma once

namespace faultline {

#ifndef FAULTLINE_VERSION
#error "the build defines FAULTLINE_VERSION"
#endif
inline constexpr const char* kVersion = FAULTLINE_VERSION;

}  // namespace faultline
