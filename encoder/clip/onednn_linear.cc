// Calls operators that LibTorch's compiler uses; they have names but no C++ functions.
#include "encoder/clip/onednn_linear.h"

#include <ATen/Context.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/zeros.h>

#include <exception>
#include <optional>

namespace imagesearch::encoder {
namespace {

using Scalars = c10::List<std::optional<at::Scalar>>;

at::Tensor Reorder(const at::Tensor& weight) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
                             .typed<at::Tensor(const at::Tensor&, std::optional<int64_t>)>();
  return op.call(weight, std::nullopt);
}

at::Tensor Multiply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                    c10::string_view function, std::optional<c10::string_view> algorithm) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                            c10::string_view, Scalars, std::optional<c10::string_view>)>();
  return op.call(x, weight, bias, function, Scalars(), algorithm);
}

}  // namespace

bool OneDnnLinear::Available(at::ScalarType type) {
  if (type != at::kFloat && type != at::kBFloat16) return false;
  if (!at::globalContext().userEnabledMkldnn()) return false;
  // Whether the operators are there and take this type shows when they are tried.
  try {
    const at::Tensor zero = at::zeros({16, 16});
    const OneDnnLinear tried({zero, at::zeros({16})}, type, Function::kSwish);
    return tried(zero.to(type)).size(1) == 16;
  } catch (const std::exception&) {
    return false;
  }
}

OneDnnLinear::OneDnnLinear(const LinearWeights& weights, at::ScalarType type, Function function)
    : function_(function) {
  const at::Tensor weight = weights.weight.to(type).contiguous();
  bias_ = weights.bias.to(type).contiguous();
  memory_bytes_ = weight.nbytes() + bias_.nbytes();
  weight_ = Reorder(weight);
}

at::Tensor OneDnnLinear::operator()(const at::Tensor& x) const {
  switch (function_) {
    case Function::kNone:
      return Multiply(x, weight_, bias_, "none", "");
    case Function::kSwish:
      return Multiply(x, weight_, bias_, "swish", "");
    case Function::kGelu:
      return Multiply(x, weight_, bias_, "gelu", "none");
  }
  return {};
}

}  // namespace imagesearch::encoder
