// What tch 0.22 does not bind, as plain C functions for native.rs.
//
// Each returns null, or a message that lives until the next call on the same thread. Tensors that are returned belong to
// the caller. A `Tensor*` is what tch calls `C_tensor`.

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include <optional>
#include <string>
#include <vector>

using at::Tensor;

namespace {

template <typename F>
const char* guarded(F&& body) {
  static thread_local std::string message;
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  } catch (const std::exception& error) {
    message = error.what();
  }
  return message.c_str();
}

std::vector<Tensor> list(Tensor* const* tensors, int64_t count) {
  std::vector<Tensor> all;
  for (int64_t i = 0; i < count; ++i) all.push_back(*tensors[i]);
  return all;
}

c10::Stream current_stream(int64_t device) {
  c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
  return guard.getStream(c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device)));
}

// At most a row is summed in float32: a running sum of 25 million squares is off by 8e-4.
Tensor norm_by_rows(const Tensor& tensor) {
  const auto rows = tensor.dim() < 2 ? tensor.reshape({1, -1}) : tensor.reshape({-1, tensor.size(-1)});
  return at::linalg_vector_norm(at::linalg_vector_norm(rows, 2, at::IntArrayRef{1}).to(at::kDouble));
}

}  // namespace

extern "C" {

// Gradients of sum(output · gradient) for `count` leaves; null where one does not take part.
const char* lcl_gradients(const Tensor* output, const Tensor* gradient, Tensor* const* leaves, int64_t count,
                          Tensor** gradients) {
  return guarded([&] {
    auto found = torch::autograd::grad({*output}, list(leaves, count), {*gradient}, /*retain_graph=*/false,
                                       /*create_graph=*/false, /*allow_unused=*/true);
    for (int64_t i = 0; i < count; ++i) gradients[i] = found[i].defined() ? new Tensor(found[i]) : nullptr;
  });
}

// Causal attention within each segment of the flat [tokens, H, d], on CUDA; `starts` [segments + 1] int32.
const char* lcl_attention_by_segments(const Tensor* q, const Tensor* k, const Tensor* v, const Tensor* starts,
                                      int64_t longest, Tensor** output) {
  return guarded([&] {
    if (q->scalar_type() == at::kBFloat16 || q->scalar_type() == at::kHalf) {
      auto result = at::_flash_attention_forward(*q, *k, *v, *starts, *starts, longest, longest, /*dropout_p=*/0.0,
                                                 /*is_causal=*/true, /*return_debug_mask=*/false);
      *output = new Tensor(std::get<0>(result));
      return;
    }
    // float32 has no flash kernel. 1: causal from the top left.
    auto result = at::_efficient_attention_forward(q->unsqueeze(0), k->unsqueeze(0), v->unsqueeze(0), std::nullopt,
                                                   *starts, *starts, longest, longest, /*dropout_p=*/0.0,
                                                   /*custom_mask_type=*/1, /*compute_log_sumexp=*/true);
    *output = new Tensor(std::get<0>(result).squeeze(0));
  });
}

// A copy that a GPU can fetch by itself.
const char* lcl_pinned(const Tensor* host, Tensor** output) {
  return guarded([&] { *output = new Tensor(host->pin_memory()); });
}

// Parameter, moments: in place. The gradient is divided by `scale`, if there is one. `skip`: 1 leaves everything as it is.
const char* lcl_adamw(Tensor* parameter, const Tensor* gradient, Tensor* first, Tensor* second, const Tensor* step,
                      double lr, double beta_1, double beta_2, double decay, double epsilon, const Tensor* scale,
                      const Tensor* skip) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    auto plain = gradient->contiguous();
    auto in_kernel = scale ? std::optional<Tensor>(*scale) : std::nullopt;
    // The kernel writes what it has scaled back: not where another parameter's gradient shares the memory.
    if (scale && plain.storage().use_count() > 1) {
      plain = plain / *scale;
      in_kernel = std::nullopt;
    }
    at::_fused_adamw_({*parameter}, {plain}, {*first}, {*second}, {}, {*step}, lr, beta_1, beta_2,
                      decay, epsilon, /*amsgrad=*/false, /*maximize=*/false, in_kernel, *skip);
  });
}

// L2 norm of each of `count` tensors, [count] float64.
const char* lcl_norms(Tensor* const* tensors, int64_t count, Tensor** output) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    auto all = list(tensors, count);
    if (all.empty()) {
      *output = new Tensor(at::zeros({0}, at::kDouble));
      return;
    }
    std::vector<Tensor> norms;
    if (all[0].is_cuda()) {
      norms = at::_foreach_norm(all);
    } else {
      for (const auto& tensor : all) norms.push_back(norm_by_rows(tensor));
    }
    *output = new Tensor(at::stack(norms).to(at::kDouble));
  });
}

// A point in what the device has been told to do.
const char* lcl_event_record(int64_t device, c10::Event** event) {
  return guarded([&] {
    auto recorded = std::make_unique<c10::Event>(c10::DeviceType::CUDA);
    recorded->record(current_stream(device));
    *event = recorded.release();
  });
}

const char* lcl_event_query(const c10::Event* event, bool* done) {
  return guarded([&] { *done = event->query(); });
}

const char* lcl_event_wait(const c10::Event* event) {
  return guarded([&] { event->synchronize(); });
}

void lcl_event_free(c10::Event* event) { delete event; }

// Most bytes that tensors have held at one time since the last reset.
const char* lcl_peak_memory(int64_t device, bool reset, int64_t* peak) {
  return guarded([&] {
    auto* allocator = c10::getDeviceAllocator(c10::DeviceType::CUDA);
    auto index = static_cast<c10::DeviceIndex>(device);
    // Before the first tensor there is nothing to ask.
    if (!allocator->initialized()) return;
    if (reset) allocator->resetPeakStats(index);
    auto stats = allocator->getDeviceStats(index);
    *peak = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  });
}
}
