// Sums of rows over a CSR list, on all threads of XLA's pool: the kernel behind `spmm`'s "native".
//
// y[t] = sum over k in [offsets[t], offsets[t + 1]) of weights[k] * x[sources[k]], where no weights
// stand for ones. Each target is summed by one thread, in the order of the list, so that the result
// does not depend on the number of threads.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int64_t kGrain = 1 << 13;  // incidences and targets of a piece of work
constexpr int kAhead = 8;            // incidences between a row's prefetch and its use

struct Lists {
  const int32_t* offsets;
  const int32_t* sources;
  const float* weights;  // null for ones
  int64_t targets;
};

// Sums `kWidth` columns of a target's rows, held in registers meanwhile.
template <int kWidth>
void SumColumns(const Lists& lists, const float* x, int64_t width, int32_t begin, int32_t end,
                int32_t stop, float* y) {
  float sum[kWidth] = {};
  for (int32_t k = begin; k < end; ++k) {
    if (k + kAhead < stop) {
      const float* ahead = x + lists.sources[k + kAhead] * width;
      for (int c = 0; c < kWidth; c += 16) __builtin_prefetch(ahead + c);
    }
    const float* row = x + lists.sources[k] * width;
    const float weight = lists.weights ? lists.weights[k] : 1.0f;
    for (int c = 0; c < kWidth; ++c) sum[c] += weight * row[c];
  }
  std::copy(sum, sum + kWidth, y);
}

void SumTargets(const Lists& lists, const float* x, int64_t width, int64_t first, int64_t last,
                float* y) {
  for (int64_t t = first; t < last; ++t) {
    int64_t c = 0;
    const auto sum = [&]<int kWidth>() {
      for (; c + kWidth <= width; c += kWidth)
        SumColumns<kWidth>(lists, x + c, width, lists.offsets[t], lists.offsets[t + 1],
                           lists.offsets[last], y + t * width + c);
    };
    sum.operator()<64>();
    sum.operator()<48>();
    sum.operator()<32>();
    sum.operator()<16>();
    sum.operator()<4>();
    sum.operator()<1>();
  }
}

// Calls `work(first, last)` for pieces of the targets of about equal cost, on the caller's thread
// and those of the pool that are free; waits for pieces begun, never for a thread to become free.
template <typename Work>
void InPieces(ffi::ThreadPool pool, const Lists& lists, Work work) {
  struct State {
    std::atomic<int64_t> next{0};
    int64_t done = 0;
    std::mutex mutex;
    std::condition_variable all_done;
  };
  const int64_t total = lists.offsets[lists.targets] + lists.targets;
  const int64_t pieces = (total + kGrain - 1) / kGrain;
  auto cut = [lists, total, pieces](int64_t piece) {  // first target at or after a share of cost
    const int64_t cost = total * piece / pieces;
    int64_t low = 0, high = lists.targets;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (lists.offsets[middle] + middle < cost) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  auto state = std::make_shared<State>();
  auto run = [state, work, cut, pieces] {
    for (int64_t piece; (piece = state->next++) < pieces;) {
      work(cut(piece), cut(piece + 1));
      std::lock_guard<std::mutex> lock(state->mutex);
      if (++state->done == pieces) state->all_done.notify_all();
    }
  };
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), pieces) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule(decltype(run)(run));
  run();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->all_done.wait(lock, [&] { return state->done == pieces; });
}

ffi::Error Sums(ffi::ThreadPool pool, ffi::Buffer<ffi::S32> offsets, ffi::Buffer<ffi::S32> sources,
                ffi::Buffer<ffi::F32> weights, ffi::Buffer<ffi::F32> x,
                ffi::ResultBuffer<ffi::F32> y) {
  const Lists lists{offsets.typed_data(), sources.typed_data(),
                    weights.element_count() ? weights.typed_data() : nullptr,
                    static_cast<int64_t>(offsets.element_count()) - 1};
  const int64_t width = y->dimensions()[1];
  const float* rows = x.typed_data();
  float* out = y->typed_data();
  InPieces(pool, lists, [=](int64_t first, int64_t last) {
    SumTargets(lists, rows, width, first, last, out);
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(EhrJaxSums, Sums,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
