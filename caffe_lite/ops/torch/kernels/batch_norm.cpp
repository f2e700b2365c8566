// BatchNorm by the batch's own statistics, with a scale, a shift and a rectifier after it, for images that are
// N, H, W, C in memory: two passes over them forward, two backward.

#include <algorithm>
#include <cmath>
#include <vector>

#include <omp.h>

#include "vectors.h"

struct Shape {
  Int pixels, channels;  // of all images
};

// So many pixels are summed in floats, and such sums in doubles.
constexpr Int BLOCK = 64;

// What lies in memory for each channel: vectors of it.
struct Channel {
  const float *mean, *inverse_std, *scale;

  Vec centred(Vec x, Int c, Int some) const { return x - load_some(mean + c, some); }
  Vec factor(Int c, Int some) const { return load_some(inverse_std + c, some) * load_some(scale + c, some); }
};

// Calls work(first float, channel, channels from there on) for every vector of the pixels from begin to end.
template <class Work> static INLINE void for_vectors(const Shape &s, Int begin, Int end, const Work &work) {
  for (Int pixel = begin; pixel < end; pixel++)
    for (Int c = 0; c < s.channels; c += LANES) work(pixel * s.channels + c, c, s.channels - c);
}

// Over all pixels the sums of the two values that terms gives for each: totals[0][c] and totals[1][c].
template <class Terms> static std::vector<std::vector<double>> sums(const Shape &s, const Terms &terms) {
  Int row = whole_vectors(s.channels), blocks = (s.pixels + BLOCK - 1) / BLOCK;
  std::vector<std::vector<double>> totals(2, std::vector<double>(row));
  Room room(omp_get_max_threads() * 2 * row);
  std::vector<double> own_totals(omp_get_max_threads() * 2 * row);
#pragma omp parallel
  {
    float *first = room.floats + omp_get_thread_num() * 2 * row, *second = first + row;
    double *own = own_totals.data() + omp_get_thread_num() * 2 * row;
#pragma omp for schedule(static)
    for (Int block = 0; block < blocks; block++) {
      std::fill_n(first, 2 * row, 0.f);
      for_vectors(s, block * BLOCK, std::min(s.pixels, (block + 1) * BLOCK), [&](Int at, Int c, Int some) HERE {
        Vec one, other;
        terms(at, c, some, one, other);
        store(first + c, load(first + c) + one);
        store(second + c, load(second + c) + other);
      });
      for (Int i = 0; i < 2 * row; i++) own[i] += first[i];
    }
  }
  for (Int i = 0; i < Int(own_totals.size()); i++) totals[i / row % 2][i % row] += own_totals[i];
  return totals;
}

template <class Work> static void for_pixels(const Shape &s, const Work &work) {
  Int blocks = (s.pixels + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static)
  for (Int block = 0; block < blocks; block++)
    for_vectors(s, block * BLOCK, std::min(s.pixels, (block + 1) * BLOCK), work);
}

static void forward(const Shape &s, const float *x, const float *scale, const float *shift, float eps, float slope,
                    float *y, float *mean, float *variance, float *inverse_std) {
  // Of the distances from the first pixel, so that a mean far from 0 costs no precision.
  auto totals = sums(s, [&](Int at, Int c, Int some, Vec &one, Vec &other) HERE {
    one = load_some(x + at, some) - load_some(x + c, some);
    other = one * one;
  });
  for (Int c = 0; c < s.channels; c++) {
    double distance = totals[0][c] / s.pixels;
    double square = std::max(totals[1][c] / s.pixels - distance * distance, 0.);  // in this order a NaN stays one
    mean[c] = x[c] + distance;
    inverse_std[c] = 1 / std::sqrt(square + eps);
    variance[c] = s.pixels > 1 ? square * s.pixels / (s.pixels - 1) : square;
  }
  Channel channel{mean, inverse_std, scale};
  for_pixels(s, [&](Int at, Int c, Int some) HERE {
    Vec value = channel.centred(load_some(x + at, some), c, some) * channel.factor(c, some);
    if (shift) value += load_some(shift + c, some);
    store_some(y + at, rectified(value, slope), some);
  });
}

// With y, it has been rectified, and tells where.
static void backward(const Shape &s, const float *dy, const float *x, const float *y, const Channel &channel,
                     float slope, float *dx, float *dscale, float *dshift) {
  auto gradient = [&](Int at, Int some) HERE {
    Vec given = load_some(dy + at, some);
    return y ? load_some(y + at, some) > Vec{} ? given : slope * given : given;
  };
  auto totals = sums(s, [&](Int at, Int c, Int some, Vec &one, Vec &other) HERE {
    one = gradient(at, some);
    other = one * channel.centred(load_some(x + at, some), c, some);
  });
  std::vector<float> constant(whole_vectors(s.channels)), slant(constant.size());
  for (Int c = 0; c < s.channels; c++) {
    double inverse = channel.inverse_std[c];
    dshift[c] = totals[0][c];
    dscale[c] = totals[1][c] * inverse;
    constant[c] = totals[0][c] / s.pixels;
    slant[c] = totals[1][c] * inverse * inverse / s.pixels;
  }
  if (!dx) return;
  for_pixels(s, [&](Int at, Int c, Int some) HERE {
    Vec centred = channel.centred(load_some(x + at, some), c, some);
    Vec rest = gradient(at, some) - load(constant.data() + c) - centred * load(slant.data() + c);
    store_some(dx + at, channel.factor(c, some) * rest, some);
  });
}

// Both say whether there was memory. Without dx it is not computed.
extern "C" bool batch_norm(const Shape *shape, const float *x, const float *scale, const float *shift, float eps,
                           float slope, float *y, float *mean, float *variance, float *inverse_std) {
  return had_memory([&] { forward(*shape, x, scale, shift, eps, slope, y, mean, variance, inverse_std); });
}
extern "C" bool batch_norm_backward(const Shape *shape, const float *dy, const float *x, const float *y,
                                    const float *mean, const float *inverse_std, const float *scale, float slope,
                                    float *dx, float *dscale, float *dshift) {
  return had_memory([&] { backward(*shape, dy, x, y, {mean, inverse_std, scale}, slope, dx, dscale, dshift); });
}
