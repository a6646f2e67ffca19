// A model in an audio callback: any block size, a fixed lag, no allocation, no lock, no exception on the audio thread.
//
//     audio_callback model.ernn < samples.f32 > processed.f32
//
// A thread plays the driver and hands over blocks of 1 to 512 frames as drivers do; the model has one input and one
// output of equal rates (a denoiser, an amplifier model).
#include <edgernn.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>
#include <vector>

namespace {

class Effect {
public:
  explicit Effect(const ernn::Model &model)
      : stream_(model), in_(model.port(ERNN_INPUT)), out_(model.port(ERNN_OUTPUT)), hop_(model.hop()) {
    if (model.ports(ERNN_INPUT) != 1 || model.ports(ERNN_OUTPUT) != 1 || out_.period != 1)
      throw ernn::Error(ERNN_RATES);
    stream_.prefetch();
  }

  // The audio thread: noexcept, and everything it calls is real-time safe.
  void callback(const float *in, float *out, std::size_t frames) noexcept {
    const ernn_status status = stream_.process(in, out, frames);
    if (status != ERNN_OK) failed_.store(status, std::memory_order_relaxed); // the other thread tells the user
  }

  ernn_status failed() const noexcept { return failed_.load(std::memory_order_relaxed); }
  std::size_t floats_in() const noexcept { return in_.bytes / hop_ / sizeof(float); }
  std::size_t floats_out() const noexcept { return out_.bytes / hop_ / sizeof(float); }
  std::size_t lag() const noexcept { return out_.delay + hop_ - 1; }

private:
  ernn::Stream stream_;
  ernn_port in_, out_;
  std::uint32_t hop_;
  std::atomic<ernn_status> failed_{ERNN_OK};
};

} // namespace

int main(int count, char **arguments) try {
  if (count != 2) {
    std::fprintf(stderr, "usage: audio_callback model.ernn < samples.f32 > processed.f32\n");
    return 2;
  }
  const ernn::Model model(arguments[1]);
  Effect effect(model);
  std::vector<float> samples, block(4096);
  for (std::size_t got; (got = std::fread(block.data(), sizeof(float), block.size(), stdin)) > 0;)
    samples.insert(samples.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(got));
  const std::size_t frames = samples.size() / effect.floats_in();
  std::vector<float> processed(frames * effect.floats_out());

  std::chrono::nanoseconds worst{0};
  std::thread driver([&] {
    std::size_t size = 1;
    for (std::size_t at = 0; at < frames; at += size, size = size % 512 + 37) {
      size = std::min(size, frames - at);
      const auto start = std::chrono::steady_clock::now();
      effect.callback(samples.data() + at * effect.floats_in(), processed.data() + at * effect.floats_out(), size);
      worst = std::max<std::chrono::nanoseconds>(worst, std::chrono::steady_clock::now() - start);
    }
  });
  driver.join();
  ernn::check(effect.failed(), "process");
  std::fprintf(stderr, "%zu frames, lag %zu frames, slowest block %.1f us\n", frames, effect.lag(),
               static_cast<double>(worst.count()) / 1000);
  std::fwrite(processed.data(), sizeof(float), processed.size(), stdout);
  return 0;
} catch (const std::exception &error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 1;
}
