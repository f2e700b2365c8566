// Convolutions with 3 x 3 and 5 x 5 filters of stride 1 by Winograd's minimal filtering, for CPUs with vectors.
//
// A tile of M x M results depends on N x N pixels, N = M + R - 1. A filter of R x R taps is taken for a polynomial in
// two variables, a tile for another, and their product is found from its values at N x N points ("frequencies"): what
// took M * M * R * R multiplications of a pixel and a tap takes N * N of two values. For all channels and tiles that is
// one matrix product per frequency. Source: Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast
// Algorithms for Convolutional Neural Networks, 2015. The points are those of the least rounding errors among simple
// fractions.
//
// Images are N, H, W, C in memory. A vector is LANES channels of a pixel, the last of them filled up with zeros.

#include <algorithm>
#include <new>

#include <omp.h>

#include "winograd.h"

// What a thread works on at a time fits into its own cache.
constexpr Int CACHED = 768 << 10;

// ---- convolutions ----

struct Images {
  float *data;
  Int count, height, width, channels, stride;  // from pixel to pixel

  float *pixel(Int n, Int y, Int x) const { return data + ((n * height + y) * width + x) * stride; }
};

// Done with every result before it is stored. A slope of 1 rectifies nothing.
struct After {
  const float *bias;
  Images addend;
  float slope;
};

template <int M, int R> struct Winograd {
  using T = Transforms<M, R>;
  static constexpr int N = T::N, F = N * N;

  struct Tiling {
    Int down, across, count;
    explicit Tiling(const Images &y)
        : down((y.height + M - 1) / M), across((y.width + M - 1) / M), count(y.count * down * across) {}
    Int image(Int tile) const { return tile / across / down; }
    Int y(Int tile) const { return tile / across % down * M; }
    Int x(Int tile) const { return tile % across * M; }
  };

  // The values of SIZE x SIZE pixels from (y, x) on, zero outside, for these channels; f's lie from to[f * plane] on.
  template <int SIZE> static void transform(const Matrix<N, SIZE> &matrix, const Images &images, Int n, Int y, Int x,
                                            Int first, Int channels, float *to, Int plane) {
    bool inside = y >= 0 && x >= 0 && y + SIZE <= images.height && x + SIZE <= images.width;
    for (Int c = 0; c < channels; c += LANES) {
      auto pixel = [&](int i, int j) HERE {
        bool there = inside || (y + i >= 0 && x + j >= 0 && y + i < images.height && x + j < images.width);
        return there ? load_some(images.pixel(n, y + i, x + j) + first + c, channels - c) : Vec{};
      };
      auto keep = [&](int i, int j, Vec value) HERE { store(to + (i * N + j) * plane + c, value); };
      expand_both(matrix, pixel, keep);
    }
  }

  // Panels are of PANEL channels, but the last may be of LANES.
  static Int panel_width(Int channels, Int panel) {
    return std::min<Int>(PANEL, whole_vectors(channels) - panel * PANEL);
  }

  // The plane of one frequency in transformed filters; of odd length, so that planes do not share lines of a cache.
  static Int filter_plane(Int ins, Int width) { return ins * width + LANES; }
  static Int filter_floats(Int outs, Int ins) { return (outs + PANEL - 1) / PANEL * F * filter_plane(ins, PANEL); }

  // Filters (outs, ins, R, R), or with ``turned`` (ins, outs, R, R) turned by 180 degrees, as the gradient in the images
  // needs them.
  struct Filters {
    const float *taps;
    Int outs, ins;
    bool turned;
    static constexpr Int BLOCK = 144 / (R * R);  // of ins

    // The values of a vector of outs for some ins, in rows that are ``step`` apart; f's lie from to[f * plane] on.
    void transform(Int out, Int in, Int count, float *to, Int step, Int plane) const {
      Int lane_stride = turned ? R * R : ins * R * R, in_stride = turned ? outs * R * R : R * R;
      Int lanes = std::min<Int>(LANES, outs - out);
      alignas(Vec) float block[BLOCK * R * R][LANES];
      if (lanes < LANES) std::fill_n(block[0], BLOCK * R * R * LANES, 0.f);
      for (; count > 0; count -= BLOCK, in += BLOCK, to += BLOCK * step) {
        Int some = std::min(BLOCK, count);
        const float *from = taps + out * lane_stride + in * in_stride;
        for (Int lane = 0; lane < lanes; lane++)
          for (Int i = 0; i < some; i++)
            for (int tap = 0; tap < R * R; tap++)
              block[i * R * R + tap][lane] = from[lane * lane_stride + i * in_stride + tap];
        for (Int i = 0; i < some; i++)
          expand_both(
              T::filter,
              [&](int a, int b) HERE { return load(block[i * R * R + (turned ? R * R - 1 - a * R - b : a * R + b)]); },
              [&](int a, int b, Vec value) HERE { store(to + i * step + (a * N + b) * plane, value); });
      }
    }
  };

  // Into panels of outs, of frequencies, of ins.
  static void transform_all(const Filters &filters, float *to) {
#pragma omp parallel for collapse(2) schedule(static)
    for (Int out = 0; out < filters.outs; out += LANES)
      for (Int in = 0; in < filters.ins; in += Filters::BLOCK) {
        Int width = panel_width(filters.outs, out / PANEL);
        float *panel = to + out / PANEL * F * filter_plane(filters.ins, PANEL) + in * width + out % PANEL;
        filters.transform(out, in, std::min(Filters::BLOCK, filters.ins - in), panel, width,
                          filter_plane(filters.ins, width));
      }
  }

  // What a convolution's passes over transformed filters share: tasks take groups of at most these tiles.
  static Int most_tiles(const Images &x) {
    return std::max<Int>(MOST_ROWS, CACHED / 4 / F / (whole_vectors(x.channels) + PANEL));
  }

  // From products to results, for these tiles and this panel of y's channels.
  static void finish(const Tiling &tiling, Int first, Int count, Int panel, const float *products, Int product_plane,
                     const Images &y, const After &after) {
    for (Int i = 0; i < count; i++)
      for (Int lane = 0; lane < panel_width(y.channels, panel); lane += LANES) {
        Int n = tiling.image(first + i), top = tiling.y(first + i), left = tiling.x(first + i);
        Int channel = panel * PANEL + lane, some = y.channels - channel;
        const float *from = products + i * PANEL + lane;
        Vec bias = after.bias ? load_some(after.bias + channel, some) : Vec{};
        auto product = [&](int i, int j) HERE { return load(from + (i * N + j) * product_plane); };
        auto keep = [&](int i, int j, Vec value) HERE {
          if (top + i >= y.height || left + j >= y.width) return;
          value += bias;
          if (after.addend.data) value += load_some(after.addend.pixel(n, top + i, left + j) + channel, some);
          store_some(y.pixel(n, top + i, left + j) + channel, rectified(value, after.slope), some);
        };
        contract_both(T::result, product, keep);
      }
  }

  // With filters transformed before. Every task takes a group of tiles, and of the panels of y's channels all or a part.
  static void convolution(const Images &x, const float *filters, const Images &y, Int pad_y, Int pad_x,
                          const After &after) {
    Tiling tiling(y);
    Int threads = omp_get_max_threads(), panels = (y.channels + PANEL - 1) / PANEL;
    Int row = whole_vectors(x.channels), most = most_tiles(x);
    Int groups = (tiling.count + most - 1) / most, parts = 1;
    if (groups < threads) parts = std::min(panels, (threads + groups - 1) / groups);
    else groups = (groups + threads - 1) / threads * threads;
    Int tiles = (tiling.count + groups - 1) / groups;
    Int plane = tiles * row + LANES, product_plane = tiles * PANEL;
    Int floats = F * (plane + product_plane);
    Room room(threads * floats);
#pragma omp parallel for schedule(static)
    for (Int task = 0; task < groups * parts; task++) {
      float *values = room.floats + omp_get_thread_num() * floats, *products = values + F * plane;
      Int first = tiling.count * (task / parts) / groups, count = tiling.count * (task / parts + 1) / groups - first;
      for (Int i = 0; i < count; i++) {
        Int n = tiling.image(first + i), top = tiling.y(first + i), left = tiling.x(first + i);
        transform<N>(T::pixels, x, n, top - pad_y, left - pad_x, 0, x.channels, values + i * row, plane);
      }
      for (Int panel = panels * (task % parts) / parts; panel < panels * (task % parts + 1) / parts; panel++) {
        Int width = panel_width(y.channels, panel);
        const float *panel_filters = filters + panel * F * filter_plane(x.channels, PANEL);
        for (int f = 0; f < F; f++)
          multiply({values + f * plane, row, 1, panel_filters + f * filter_plane(x.channels, width), width,
                    x.channels, products + f * product_plane, PANEL, false}, count, width);
        finish(tiling, first, count, panel, products, product_plane, y, after);
      }
    }
  }

  // Where there are few tiles: all are transformed first, then filters where they are needed, some channels at a time.
  // Every task takes a panel of y's channels, and of the tiles all or a part.
  static void convolution_of_few(const Images &x, const Filters &filters, const Images &y, Int pad_y, Int pad_x,
                                 const After &after) {
    constexpr Int INS = 64, scratch_plane = INS * PANEL + LANES;
    Tiling tiling(y);
    Int threads = omp_get_max_threads(), panels = (y.channels + PANEL - 1) / PANEL;
    Int parts = std::min(tiling.count, (threads + panels - 1) / panels), tiles = (tiling.count + parts - 1) / parts;
    Int row = whole_vectors(x.channels), plane = tiling.count * row + LANES, product_plane = tiles * PANEL + LANES;
    Int floats = F * (scratch_plane + product_plane);
    Room all_values(F * plane), room(threads * floats);
#pragma omp parallel for schedule(static)
    for (Int i = 0; i < tiling.count; i++)
      transform<N>(T::pixels, x, tiling.image(i), tiling.y(i) - pad_y, tiling.x(i) - pad_x, 0, x.channels,
                   all_values.floats + i * row, plane);
#pragma omp parallel for schedule(static)
    for (Int task = 0; task < panels * parts; task++) {
      float *scratch = room.floats + omp_get_thread_num() * floats, *products = scratch + F * scratch_plane;
      Int panel = task / parts, width = panel_width(y.channels, panel);
      Int first = tiling.count * (task % parts) / parts, count = tiling.count * (task % parts + 1) / parts - first;
      for (Int in = 0; in < x.channels; in += INS) {
        Int ins = std::min(INS, x.channels - in);
        for (Int lane = 0; lane < width; lane += LANES)
          filters.transform(panel * PANEL + lane, in, ins, scratch + lane, width, scratch_plane);
        for (int f = 0; f < F; f++)
          multiply({all_values.floats + f * plane + first * row + in, row, 1, scratch + f * scratch_plane, width, ins,
                    products + f * product_plane, PANEL, in > 0}, count, width);
      }
      finish(tiling, first, count, panel, products, product_plane, y, after);
    }
  }

  // With filters that serve once, in whichever way moves less through memory.
  static void convolution_once(const Images &x, const Filters &filters, const Images &y, Int pad_y, Int pad_x,
                               const After &after) {
    Int tiles = Tiling(y).count, groups = (tiles + most_tiles(x) - 1) / most_tiles(x);
    Int panels = (y.channels + PANEL - 1) / PANEL;
    if (4 * F * PANEL * tiles <= CACHED && tiles * (panels + 1) < y.channels * (groups + 2))
      return convolution_of_few(x, filters, y, pad_y, pad_x, after);
    Room room(filter_floats(y.channels, x.channels));
    transform_all(filters, room.floats);
    convolution(x, room.floats, y, pad_y, pad_x, after);
  }

  // The gradient in the filters, (dy's channels, x's channels, R, R). A task takes some channels of both, and of the
  // tiles all or a part; a thread's cache holds its sums.
  static void gradient(const Images &x, const Images &dy, Int pad_y, Int pad_x, float *taps) {
    constexpr Int INS = 64, OUTS = 64, TILES = 28;
    constexpr Int in_plane = TILES * INS + LANES, out_plane = TILES * OUTS + LANES, sums_plane = INS * OUTS + LANES;
    Tiling tiling(dy);
    Int in_chunks = (x.channels + INS - 1) / INS, chunks = in_chunks * ((dy.channels + OUTS - 1) / OUTS);
    Int parts = std::min<Int>((omp_get_max_threads() + chunks - 1) / chunks, (tiling.count + TILES - 1) / TILES);
    Int count_of_taps = dy.channels * x.channels * R * R, floats = F * (in_plane + out_plane + sums_plane);
    Room room(omp_get_max_threads() * floats), other_parts((parts - 1) * count_of_taps);
#pragma omp parallel
    {
      float *in_values = room.floats + omp_get_thread_num() * floats;
      float *out_values = in_values + F * in_plane, *sums = out_values + F * out_plane;
#pragma omp for schedule(static)
      for (Int task = 0; task < chunks * parts; task++) {
        Int chunk = task / parts, part = task % parts;
        Int begin = tiling.count * part / parts, end = tiling.count * (part + 1) / parts;
        Int in = chunk % in_chunks * INS, ins = std::min(INS, x.channels - in);
        Int out = chunk / in_chunks * OUTS, outs = std::min(OUTS, dy.channels - out);
        for (Int first = begin; first < end; first += TILES) {
          Int count = std::min(TILES, end - first);
          for (Int i = 0; i < count; i++) {
            Int n = tiling.image(first + i), top = tiling.y(first + i), left = tiling.x(first + i);
            transform<N>(T::pixels, x, n, top - pad_y, left - pad_x, in, ins, in_values + i * INS, in_plane);
            transform<M>(T::result, dy, n, top, left, out, outs, out_values + i * OUTS, out_plane);
          }
          for (int f = 0; f < F; f++)
            for (Int panel = 0; panel * PANEL < outs; panel++)
              multiply({in_values + f * in_plane, 1, INS, out_values + f * out_plane + panel * PANEL, OUTS, count,
                        sums + f * sums_plane + panel * PANEL, OUTS, first > begin}, ins, panel_width(outs, panel));
        }
        float *part_taps = part ? other_parts.floats + (part - 1) * count_of_taps : taps;
        for (Int o = 0; o < outs; o += LANES)
          for (Int i = 0; i < ins; i++) {
            Vec filter[R * R];
            const float *from = sums + i * OUTS + o;
            contract_both(T::filter, [&](int a, int b) HERE { return load(from + (a * N + b) * sums_plane); },
                          [&](int a, int b, Vec tap) HERE { filter[a * R + b] = tap; });
            for (int lane = 0; lane < LANES && o + lane < outs; lane++) {
              float *to = part_taps + ((out + o + lane) * x.channels + in + i) * R * R;
              for (int tap = 0; tap < R * R; tap++) to[tap] = filter[tap][lane];
            }
          }
      }
#pragma omp for schedule(static)
      for (Int tap = 0; tap < count_of_taps; tap++)
        for (Int part = 1; part < parts; part++) taps[tap] += other_parts.floats[(part - 1) * count_of_taps + tap];
    }
  }
};

// ---- for Python ----

struct Shape {
  Int count, height, width, channels, out_height, out_width, outs, pad_y, pad_x, groups;

  Images x(float *data, Int group) const {
    return {data + group * (channels / groups), count, height, width, channels / groups, channels};
  }
  Images y(float *data, Int group) const {
    return {data ? data + group * (outs / groups) : nullptr, count, out_height, out_width, outs / groups, outs};
  }
};

template <int M, int R> struct Kernels {
  using W = Winograd<M, R>;

  static void filters(const float *taps, Int outs, Int ins, Int groups, float *to) {
    outs /= groups, ins /= groups;
    for (Int group = 0; group < groups; group++)
      W::transform_all({taps + group * outs * ins * R * R, outs, ins, false}, to + group * W::filter_floats(outs, ins));
  }

  static After after(const Shape &shape, const float *bias, float *addend, float slope, Int group) {
    return {bias ? bias + group * (shape.outs / shape.groups) : nullptr, shape.y(addend, group), slope};
  }

  static void convolution(const Shape &shape, float *x, const float *filters, const float *bias, float *addend,
                          float slope, float *y) {
    for (Int group = 0; group < shape.groups; group++) {
      Images from = shape.x(x, group), to = shape.y(y, group);
      const float *own = filters + group * W::filter_floats(to.channels, from.channels);
      W::convolution(from, own, to, shape.pad_y, shape.pad_x, after(shape, bias, addend, slope, group));
    }
  }

  static void convolution_once(const Shape &shape, float *x, const float *taps, bool turned, const float *bias,
                               float *y) {
    for (Int group = 0; group < shape.groups; group++) {
      Images from = shape.x(x, group), to = shape.y(y, group);
      const float *own = taps + group * to.channels * from.channels * R * R;
      W::convolution_once(from, {own, to.channels, from.channels, turned}, to, shape.pad_y, shape.pad_x,
                          after(shape, bias, nullptr, 1, group));
    }
  }

  static void gradient(const Shape &shape, float *x, float *dy, float *taps) {
    for (Int group = 0; group < shape.groups; group++) {
      Images from = shape.x(x, group), to = shape.y(dy, group);
      W::gradient(from, to, shape.pad_y, shape.pad_x, taps + group * to.channels * from.channels * R * R);
    }
  }
};

// Those that return bool say whether there was memory.
#define WITH(M, R)                                                                                                    \
  extern "C" Int filter_floats_##M##_##R(Int outs, Int ins, Int groups) {                                             \
    return groups * Winograd<M, R>::filter_floats(outs / groups, ins / groups);                                       \
  }                                                                                                                   \
  extern "C" void filters_##M##_##R(const float *taps, Int outs, Int ins, Int groups, float *to) {                    \
    Kernels<M, R>::filters(taps, outs, ins, groups, to);                                                              \
  }                                                                                                                   \
  extern "C" bool convolution_##M##_##R(const Shape *shape, float *x, const float *filters, const float *bias,        \
                                        float *addend, float slope, float *y) {                                       \
    return had_memory([&] { Kernels<M, R>::convolution(*shape, x, filters, bias, addend, slope, y); });               \
  }                                                                                                                   \
  extern "C" bool convolution_once_##M##_##R(const Shape *shape, float *x, const float *taps, bool turned,            \
                                             const float *bias, float *y) {                                           \
    return had_memory([&] { Kernels<M, R>::convolution_once(*shape, x, taps, turned, bias, y); });                    \
  }                                                                                                                   \
  extern "C" bool gradient_##M##_##R(const Shape *shape, float *x, float *dy, float *taps) {                          \
    return had_memory([&] { Kernels<M, R>::gradient(*shape, x, dy, taps); });                                         \
  }

WITH(2, 3)
WITH(4, 3)
WITH(4, 5)
