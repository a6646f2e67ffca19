/* edgernn.h for C++17: memory that frees itself, failures as exceptions where nothing is real-time.
 *
 * Set-up (Model, Stream, save) allocates and throws `ernn::Error`. What an audio callback calls (step, process, push,
 * flush, reset, prefetch, save into the caller's bytes, restore) is noexcept, allocates nothing and gives `ernn_status`.
 */
#ifndef EDGERNN_HPP
#define EDGERNN_HPP
#include "edgernn.h"
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ernn {

class Error : public std::runtime_error {
public:
  explicit Error(ernn_status status, const std::string &place = "")
      : std::runtime_error((place.empty() ? "" : place + ": ") + ernn_status_text(status)), status_(status) {}
  ernn_status status() const noexcept { return status_; }

private:
  ernn_status status_;
};

inline void check(ernn_status status, const std::string &place = "") {
  if (status != ERNN_OK) throw Error(status, place);
}

/* The dtype that a C++ type stands for. */
template <class T> constexpr ernn_dtype dtype_of() {
  if constexpr (std::is_same_v<T, float>) return ERNN_FLOAT32;
  else if constexpr (std::is_same_v<T, std::int64_t>) return ERNN_INT64;
  else if constexpr (std::is_same_v<T, std::int32_t>) return ERNN_INT32;
  else if constexpr (std::is_same_v<T, std::int16_t>) return ERNN_INT16;
  else if constexpr (std::is_same_v<T, std::int8_t>) return ERNN_INT8;
  else if constexpr (std::is_same_v<T, bool>) return ERNN_BOOL;
  else {
    static_assert(std::is_same_v<T, std::uint8_t>, "no dtype of the engine");
    return ERNN_UINT8;
  }
}

namespace detail {
struct Free {
  void operator()(std::uint8_t *bytes) const noexcept { ::operator delete(bytes, std::align_val_t{64}); }
};
using Bytes = std::unique_ptr<std::uint8_t[], Free>; /* 64-byte aligned */

inline Bytes allocate(std::size_t size) {
  return Bytes(static_cast<std::uint8_t *>(::operator new(size, std::align_val_t{64})));
}

struct Opened { /* never moves: streams point into it */
  Bytes bytes; /* null: borrowed */
  ernn_model model{};
};
} // namespace detail

/* An opened file. Constant: any number of threads may make streams of it, and a stream keeps what it needs of it alive. */
class Model {
public:
  explicit Model(const std::string &path) : opened_(std::make_shared<detail::Opened>()) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) throw std::runtime_error(path + ": cannot be opened");
    const auto size = static_cast<std::size_t>(file.tellg());
    opened_->bytes = detail::allocate(size);
    file.seekg(0);
    if (!file.read(reinterpret_cast<char *>(opened_->bytes.get()), static_cast<std::streamsize>(size)))
      throw std::runtime_error(path + ": cannot be read");
    check(ernn_model_open(&opened_->model, opened_->bytes.get(), size), path);
  }
  /* A copy of a file's bytes. */
  Model(const void *data, std::size_t size) : opened_(std::make_shared<detail::Opened>()) {
    opened_->bytes = detail::allocate(size);
    std::memcpy(opened_->bytes.get(), data, size);
    check(ernn_model_open(&opened_->model, opened_->bytes.get(), size));
  }
  /* In place, in flash or a mapped file: 64-byte aligned bytes that outlive every stream. */
  static Model borrow(const void *data, std::size_t size) {
    Model model;
    check(ernn_model_open(&model.opened_->model, data, size));
    return model;
  }
  Model(Model &&) noexcept = default;
  Model &operator=(Model &&) noexcept = default;
  Model(const Model &) = delete;
  Model &operator=(const Model &) = delete;

  const ernn_model *get() const noexcept { return &opened_->model; }
  std::uint32_t programs() const noexcept { return ernn_model_programs(get()); }
  std::uint32_t find(std::string_view name) const {
    std::uint32_t program = 0;
    check(ernn_model_find(get(), name.data(), name.size(), &program), std::string(name));
    return program;
  }
  std::uint32_t hop(std::uint32_t program = 0) const noexcept { return ernn_model_hop(get(), program); }
  std::uint32_t ports(ernn_kind kind, std::uint32_t program = 0) const noexcept {
    return ernn_model_ports(get(), program, kind);
  }
  ernn_port port(ernn_kind kind, std::uint32_t index = 0, std::uint32_t program = 0) const {
    ernn_port port;
    check(ernn_model_port(get(), program, kind, index, &port));
    return port;
  }
  std::string_view spec(std::uint32_t program = 0) const noexcept {
    std::size_t size = 0;
    const char *text = ernn_model_spec(get(), program, &size);
    return {text, size};
  }

private:
  friend class Stream;
  Model() : opened_(std::make_shared<detail::Opened>()) {}
  std::shared_ptr<detail::Opened> opened_;
};

/* One sequence of frames through a program. Used by one thread at a time. */
class Stream {
public:
  explicit Stream(const Model &model, std::uint32_t program = 0, const char *isa = nullptr)
      : opened_(model.opened_), program_(program) {
    const std::size_t size = ernn_stream_size(model.get(), program);
    if (!size) throw Error(ERNN_NO_PROGRAM);
    const ernn_options options{isa, 0};
    memory_ = detail::allocate(size);
    check(ernn_stream_init(&stream_, model.get(), program, memory_.get(), size, &options));
  }
  Stream(Stream &&other) noexcept { *this = std::move(other); }
  Stream &operator=(Stream &&other) noexcept {
    opened_ = std::move(other.opened_);
    memory_ = std::move(other.memory_);
    stream_ = std::exchange(other.stream_, nullptr);
    program_ = other.program_;
    return *this;
  }
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;

  ernn_stream *get() noexcept { return stream_; }
  const char *isa() const noexcept { return ernn_stream_isa(stream_); }

  /* The stream's own buffers, `[hop, ...]` and `[frames, ...]`: look them up once. Throws for another dtype or no port. */
  template <class T> T *input(std::uint32_t index = 0) {
    expect<T>(ERNN_INPUT, index);
    return static_cast<T *>(ernn_input(stream_, index));
  }
  template <class T> const T *output(std::uint32_t index = 0) const {
    expect<T>(ERNN_OUTPUT, index);
    return static_cast<const T *>(ernn_output(stream_, index));
  }

  ernn_status step() noexcept { return ernn_step(stream_); }
  ernn_status process(const void *in, void *out, std::size_t frames) noexcept {
    return ernn_process(stream_, in, out, frames);
  }
  ernn_status push(const void *const *in, std::size_t frames, void *const *out, std::size_t *got) noexcept {
    return ernn_push(stream_, in, frames, out, got);
  }
  ernn_status flush(void *const *out, std::size_t *got) noexcept { return ernn_flush(stream_, out, got); }
  void reset() noexcept { ernn_reset(stream_); }
  void prefetch() const noexcept { ernn_prefetch(stream_); }

  std::size_t state_size() const noexcept { return ernn_state_size(stream_); }
  void save(void *bytes) const noexcept { ernn_state_save(stream_, bytes); }
  std::vector<std::uint8_t> save() const {
    std::vector<std::uint8_t> state(state_size());
    save(state.data());
    return state;
  }
  ernn_status restore(const void *bytes, std::size_t size) noexcept { return ernn_state_restore(stream_, bytes, size); }

private:
  template <class T> void expect(ernn_kind kind, std::uint32_t index) const {
    ernn_port port;
    check(ernn_model_port(&opened_->model, program_, kind, index, &port));
    if (port.dtype != dtype_of<T>()) throw Error(ERNN_PORTS, std::string(port.name, port.name_size));
  }
  std::shared_ptr<const detail::Opened> opened_;
  detail::Bytes memory_;
  ernn_stream *stream_ = nullptr;
  std::uint32_t program_ = 0;
};

} // namespace ernn
#endif
