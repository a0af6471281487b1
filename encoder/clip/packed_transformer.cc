// The transformer on this project's own AVX-512 kernels: weights packed once, norms, biases,
// activations and residuals fused into the products. One parallel region for the whole stack.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "encoder/clip/aligned_buffer.h"
#include "encoder/clip/kernels/gemm.h"
#include "encoder/clip/packed_linear.h"
#include "encoder/clip/transformer.h"

namespace imagesearch::encoder {
namespace {

using kernels::Number;

// Of norms and quantisation, so little that a claim of fewer rows would cost as much.
constexpr int64_t kRowsAtLeast = 8;

class PackedTransformer : public Transformer {
 public:
  PackedTransformer(const TransformerConfig& config, const BlockSource& block, Number number,
                    Number wide)
      : config_(config), wide_(wide) {
    const float query_scale = 1 / std::sqrt(static_cast<float>(config.width / config.heads));
    for (int i = 0; i < config.layers; ++i) {
      BlockWeights weights = block(i);
      // The scale of the attention scores goes into the queries.
      for (at::Tensor* tensor : {&weights.qkv.weight, &weights.qkv.bias})
        tensor->narrow(0, 0, config.width).mul_(query_scale);
      // In 8 bits the attention's output stays wide everywhere, and the last block whole: little of
      // the arithmetic (the last block computes picked positions only), much of the error.
      const Number inner = i == config.layers - 1 ? wide : number;
      Block packed{std::move(weights.norm1),         std::move(weights.norm2),
                   PackedLinear(weights.qkv, inner), PackedLinear(weights.out, wide),
                   PackedLinear(weights.fc1, inner), PackedLinear(weights.fc2, inner)};
      for (const PackedLinear* linear : {&packed.qkv, &packed.out, &packed.fc1, &packed.fc2})
        memory_bytes_ += linear->memory_bytes();
      blocks_.push_back(std::move(packed));
    }
  }

  at::Tensor Forward(at::Tensor x, const Sequences& sequences) override {
    const int64_t rows = x.size(0), count = static_cast<int64_t>(sequences.lengths.size());
    const int64_t width = config_.width,
                  longest = *std::max_element(sequences.lengths.begin(), sequences.lengths.end());
    first_rows_.assign(1, 0);
    for (const int64_t length : sequences.lengths)
      first_rows_.push_back(first_rows_.back() + length);
    at::Tensor picked = at::empty({count, width}, x.options());
    const int threads = at::get_num_threads();
    const int item = BytesOf(wide_);
    input_.Reserve(rows * std::max<int64_t>(width, config_.mlp_width) * item);
    scales_.Reserve(rows * sizeof(float));
    zeros_.Reserve(rows * sizeof(int32_t));
    qkv_.Reserve(rows * 3 * width * item);
    attended_.Reserve(rows * width * item);
    hidden_.Reserve(rows * config_.mlp_width * item);
    const int64_t scratch =
        (kernels::AttentionScratch(longest, width / config_.heads) + 15) / 16 * 16;
    scratch_.Reserve(threads * scratch * sizeof(float));
    float* const states = x.data_ptr<float>();
    float* const picked_states = picked.data_ptr<float>();

    claims_.Reserve(threads);
#pragma omp parallel num_threads(threads)
    {
      Worker me(omp_get_thread_num(), omp_get_num_threads(), &claims_, phase_);
      for (const Block& block : blocks_) {
        const bool last = &block == &blocks_.back();
        Norm(me, block.norm1, block.qkv.number(), states, rows);
#pragma omp barrier
        Product(me, block.qkv, input_.data(), rows, IntoMiddle(qkv_, 3 * width));
#pragma omp barrier
        AttendAll(me, sequences, last, scratch_.as<float>() + me.index() * scratch);
        // After the last block only the picked positions matter.
        float* const now = last ? picked_states : states;
        const int64_t now_rows = last ? count : rows;
        if (last) Pick(me, sequences, states, picked_states);
#pragma omp barrier
        ProductOfMiddle(me, block.out, attended_, now_rows, now);
#pragma omp barrier
        Norm(me, block.norm2, block.fc1.number(), now, now_rows);
#pragma omp barrier
        kernels::Sink hidden = IntoMiddle(hidden_, config_.mlp_width);
        hidden.function = config_.activation == Activation::kGelu ? kernels::Function::kGelu
                                                                  : kernels::Function::kQuickGelu;
        Product(me, block.fc1, input_.data(), now_rows, hidden);
#pragma omp barrier
        ProductOfMiddle(me, block.fc2, hidden_, now_rows, now);
#pragma omp barrier
      }
      if (me.index() == 0) phase_ = me.phase();
    }
    return picked;
  }

  uint64_t memory_bytes() const override { return memory_bytes_; }

 private:
  struct Block {
    NormWeights norm1, norm2;
    PackedLinear qkv, out, fc1, fc2;
  };

  kernels::Sink IntoMiddle(AlignedBuffer& buffer, int64_t width) {
    kernels::Sink sink;
    sink.stride = width;
    if (wide_ == Number::kFp32) {
      sink.fp32 = buffer.as<float>();
    } else {
      sink.bf16 = buffer.as<uint16_t>();
    }
    return sink;
  }

  // Into input_ as `number`, with scales_ and zeros_ for int8.
  void Norm(Worker& me, const NormWeights& norm, Number number, const float* x, int64_t rows) {
    const int64_t width = config_.width;
    me.Divide(rows, kRowsAtLeast, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        kernels::LayerNormRow(x + row * width, width, norm.scale.const_data_ptr<float>(),
                              norm.bias.const_data_ptr<float>(),
                              static_cast<float>(config_.layer_norm_eps), number,
                              input_.data() + row * width * BytesOf(number),
                              scales_.as<float>() + row, zeros_.as<int32_t>() + row);
      }
    });
  }

  void Product(Worker& me, const PackedLinear& linear, const uint8_t* data, int64_t rows,
               const kernels::Sink& sink) {
    kernels::RowsView view;
    view.data = data;
    view.rows = rows;
    view.stride = linear.inputs() * BytesOf(linear.number());
    view.scale = scales_.as<float>();
    view.zero = zeros_.as<int32_t>();
    linear.Multiply(me, view, sink);
  }

  // x += linear(middle), for every row. Has a barrier inside for int8.
  void ProductOfMiddle(Worker& me, const PackedLinear& linear, AlignedBuffer& middle, int64_t rows,
                       float* x) {
    kernels::Sink sink;
    sink.fp32 = x;
    sink.stride = linear.outputs();
    sink.add = true;
    if (linear.number() != Number::kInt8) return Product(me, linear, middle.data(), rows, sink);
    const int64_t width = linear.inputs();
    me.Divide(rows, kRowsAtLeast, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        kernels::QuantiseRow(wide_, middle.data() + row * width * BytesOf(wide_), width,
                             input_.data() + row * width, scales_.as<float>() + row,
                             zeros_.as<int32_t>() + row);
      }
    });
#pragma omp barrier
    Product(me, linear, input_.data(), rows, sink);
  }

  void AttendAll(Worker& me, const Sequences& sequences, bool only_picked, float* scratch) {
    const int64_t count = static_cast<int64_t>(sequences.lengths.size());
    const int64_t width = config_.width, item = BytesOf(wide_);
    kernels::Attention attention;
    attention.number = wide_;
    attention.width = width;
    attention.head_width = width / config_.heads;
    attention.causal = sequences.causal;
    attention.scratch = scratch;
    me.Divide(count * config_.heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t sequence = task / config_.heads;
        attention.head = task % config_.heads;
        attention.qkv = qkv_.data() + first_rows_[sequence] * 3 * width * item;
        attention.length = sequences.lengths[sequence];
        attention.first_query = only_picked ? sequences.pick[sequence] : 0;
        attention.queries = only_picked ? 1 : attention.length;
        attention.out =
            attended_.data() + (only_picked ? sequence : first_rows_[sequence]) * width * item;
        kernels::Attend(attention);
      }
    });
  }

  void Pick(Worker& me, const Sequences& sequences, const float* states, float* picked) {
    const auto [begin, end] = me.Share(static_cast<int64_t>(sequences.lengths.size()));
    for (int64_t i = begin; i < end; ++i) {
      const float* from = states + (first_rows_[i] + sequences.pick[i]) * config_.width;
      std::copy(from, from + config_.width, picked + i * config_.width);
    }
  }

  const TransformerConfig config_;
  const Number wide_;  // between products
  std::vector<Block> blocks_;
  uint64_t memory_bytes_ = 0;
  Claims claims_;
  uint16_t phase_ = 0;  // of claims_, at the end of the last Forward
  // Workspace of one Forward, kept between calls.
  std::vector<int64_t> first_rows_;
  AlignedBuffer input_, scales_, zeros_, qkv_, attended_, hidden_, scratch_;
};

}  // namespace

std::unique_ptr<Transformer> MakePackedTransformer(const TransformerConfig& config,
                                                   const BlockSource& block, Number number,
                                                   Number wide) {
  return std::make_unique<PackedTransformer>(config, block, number, wide);
}

}  // namespace imagesearch::encoder
