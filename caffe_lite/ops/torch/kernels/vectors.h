// Vectors of floats, as GCC and clang have them for every processor.

#pragma once

#include <algorithm>
#include <cstdint>
#include <new>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

using Int = std::int64_t;

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef float Anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define INLINE inline __attribute__((always_inline))
#define HERE __attribute__((always_inline))  // for lambdas
#define UNROLL _Pragma("GCC unroll 16")

static INLINE Vec load(const float *from) { return *(const Anywhere *)from; }
static INLINE void store(float *to, Vec values) { *(Anywhere *)to = values; }

// The first count floats from there on, then zeros.
static INLINE Vec load_some(const float *from, Int count) {
  if (count >= LANES) return load(from);
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps((1 << count) - 1, from);
#else
  Vec values{};
  for (Int lane = 0; lane < count; lane++) values[lane] = from[lane];
  return values;
#endif
}

// The first count values of a vector.
static INLINE void store_some(float *to, Vec values, Int count) {
  if (count >= LANES) return store(to, values);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, (1 << count) - 1, values);
#else
  for (Int lane = 0; lane < count; lane++) to[lane] = values[lane];
#endif
}

// Calls work.at<W>(c) for every channel c from which W vectors are to be worked on: WIDTH as long as there are as many,
// then fewer. The last vector lies partly over the one before.
template <int WIDTH, class Work> static INLINE void for_channels(Int channels, const Work &work, Int c = 0) {
  for (; c + WIDTH * LANES <= channels; c += WIDTH * LANES) work.template at<WIDTH>(c);
  if constexpr (WIDTH > 1) for_channels<WIDTH / 2>(channels, work, c);
  else if (c < channels) work.template at<1>(channels - LANES);
}

static inline Int whole_vectors(Int count) { return (count + LANES - 1) / LANES * LANES; }

struct Room {
  float *floats;
  explicit Room(Int count) : floats(new (std::align_val_t(64)) float[count]) {}
  ~Room() { operator delete[](floats, std::align_val_t(64)); }
};

// A slope of 1 rectifies nothing.
static INLINE Vec rectified(Vec value, float slope) {
  if (slope == 1) return value;
  return value < Vec{} ? (slope == 0 ? Vec{} : slope * value) : value;
}

template <class Work> static bool had_memory(Work work) {
  try {
    work();
    return true;
  } catch (const std::bad_alloc &) {
    return false;
  }
}
