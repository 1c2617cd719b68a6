// Stretches of guest memory gathered in any order and handed out joined: what one call to the host can take.
#pragma once

#include <algorithm>
#include <vector>

#include "guestmem/types.h"

namespace faultline {

class PageRanges {
 public:
  void Add(GpaRange range) { ranges_.push_back(range); }

  // The stretches, ascending, adjacent and overlapping ones joined. Empties this.
  std::vector<GpaRange> Take() {
    std::ranges::sort(ranges_, {}, &GpaRange::start);
    std::vector<GpaRange> joined;
    for (const GpaRange& range : ranges_) {
      if (!joined.empty() && range.start <= joined.back().end()) {
        joined.back().size = std::max(joined.back().end(), range.end()) - joined.back().start;
      } else {
        joined.push_back(range);
      }
    }
    ranges_.clear();
    return joined;
  }

 private:
  std::vector<GpaRange> ranges_;
};

}  // namespace faultline
