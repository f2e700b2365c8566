// Convolutions of images with few channels by Winograd's minimal filtering along their rows.
//
// A first layer has too few channels to fill vectors, or to make up for transforms in both directions. Here a tile is M
// results side by side, and the products' inner axis runs over the rows of a filter and all that lies there beside each
// other: channels and, with a stride S in x, S pixels, which then count as one of S times the channels for a filter of
// R = kernel / S taps, rounded up. The rows of a tile are transformed once for all results that want them.
//
// Images are N, H, W, C in memory.

#include <algorithm>

#include <omp.h>

#include "winograd.h"

struct Shape {
  Int count, height, width, channels, out_height, out_width, outs, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;
};

// What a task takes: its values fit into a thread's own cache.
constexpr Int MOST_RESULT_ROWS = 42, MOST_TILES = 8;

template <int M, int R> struct Rows {
  using T = Transforms<M, R>;
  static constexpr int N = T::N;

  const Shape &s;
  Int pixel = s.stride_x * s.channels, inner = s.kernel_y * pixel;
  Int across = (s.out_width + M - 1) / M, groups = (across + MOST_TILES - 1) / MOST_TILES;
  Int bands = (s.out_height + MOST_RESULT_ROWS - 1) / MOST_RESULT_ROWS, panels = (s.outs + PANEL - 1) / PANEL;
  Int most_rows = (s.out_height + bands - 1) / bands, most_tiles = (across + groups - 1) / groups;

  // The floats of a tile, and of a frequency's plane of tiles; LANES more, so that planes share no lines of a cache.
  Int tile_values = ((most_rows - 1) * s.stride_y + s.kernel_y) * pixel + LANES, tile_results = most_rows * PANEL;
  Int value_plane = most_tiles * tile_values + LANES, result_plane = most_tiles * tile_results + LANES;
  Int filter_plane = inner * PANEL + LANES;

  struct Task {
    Int n, top, rows, left, tiles;
  };
  Int tasks() const { return s.count * bands * groups; }
  Task task(Int i) const {
    Int group = i % groups, band = i / groups % bands;
    Int top = s.out_height * band / bands, left = across * group / groups;
    return {i / groups / bands, top, s.out_height * (band + 1) / bands - top, left * M,
            across * (group + 1) / groups - left};
  }

  // The floats of a row from there on, zeros outside.
  static Vec load_inside(const float *row, Int from, Int floats) {
    if (from >= 0) return from < floats ? load_some(row + from, floats - from) : Vec{};
    alignas(Vec) float some[LANES];
    for (Int lane = 0; lane < LANES; lane++)
      some[lane] = from + lane >= 0 && from + lane < floats ? row[from + lane] : 0;
    return load(some);
  }

  // The values of all pixels that a task wants: tile after tile, row after row, ``pixel`` floats each. Of a vector what
  // is too much is written over by the next.
  void transform(const float *x, const Task &task, float *values) const {
    Int floats = s.width * s.channels, first = task.top * s.stride_y - s.pad_y;
    for (Int y = first; y < first + (task.rows - 1) * s.stride_y + s.kernel_y; y++) {
      const float *row = x + (task.n * s.height + y) * floats;
      for (Int tile = 0; tile < task.tiles; tile++)
        for (Int c = 0; c < pixel; c += LANES) {
          Int from = ((task.left + tile * M) * s.stride_x - s.pad_x) * s.channels + c;
          bool inside = from >= 0 && from + (N - 1) * pixel + LANES <= floats;
          Vec pixels[N] = {}, own[N];
          if (y >= 0 && y < s.height)
            UNROLL for (int i = 0; i < N; i++)
              pixels[i] = inside ? load(row + from + i * pixel) : load_inside(row, from + i * pixel, floats);
          expand(T::pixels, pixels, own);
          float *to = values + tile * tile_values + (y - first) * pixel + c;
          UNROLL for (int f = 0; f < N; f++) store(to + f * value_plane, own[f]);
        }
    }
  }

  Int panel_width(Int panel) const { return std::min<Int>(PANEL, whole_vectors(s.outs) - panel * PANEL); }
  Int filter_floats() const { return s.channels * s.kernel_y * s.kernel_x; }

  // Which taps of a filter make up the polynomial of inner index i.
  struct Taps {
    Int first, count;
  };
  Taps taps_of(Int i) const {
    Int row = i / pixel, phase = i % pixel / s.channels, channel = i % s.channels;
    return {(channel * s.kernel_y + row) * s.kernel_x + phase, (s.kernel_x - phase + s.stride_x - 1) / s.stride_x};
  }

  // Filters (outs, channels, kernel_y, kernel_x) into panels of outs, of frequencies, of inner indices.
  void filters(const float *taps, float *to) const {
    for (Int out = 0; out < s.outs; out += LANES)
      for (Int i = 0; i < inner; i++) {
        Vec filter[R] = {}, own[N];
        Taps some = taps_of(i);
        for (Int tap = 0; tap < some.count; tap++)
          for (Int lane = 0; lane < LANES && out + lane < s.outs; lane++)
            filter[tap][lane] = taps[(out + lane) * filter_floats() + some.first + tap * s.stride_x];
        expand(T::filter, filter, own);
        float *panel = to + out / PANEL * N * filter_plane + i * panel_width(out / PANEL) + out % PANEL;
        UNROLL for (int f = 0; f < N; f++) store(panel + f * filter_plane, own[f]);
      }
  }

  // Calls work(at, left, channel, y's first float) for every tile and row of a panel's results, in y's order; their
  // values lie from ``at`` on, in planes.
  template <class Work> INLINE void for_results(const Task &task, Int panel, const Work &work) const {
    for (Int row = 0; row < task.rows; row++)
      for (Int tile = 0; tile < task.tiles; tile++)
        for (Int lane = 0; lane < panel_width(panel); lane += LANES) {
          Int left = task.left + tile * M, channel = panel * PANEL + lane;
          Int first = ((task.n * s.out_height + task.top + row) * s.out_width + left) * s.outs + channel;
          work(tile * tile_results + row * PANEL + lane, left, channel, first);
        }
  }

  void convolution(const float *x, const float *taps, const float *bias, float slope, float *y) const {
    Int floats = N * (value_plane + result_plane);
    Room filter_room(panels * N * filter_plane), room(omp_get_max_threads() * floats);
    filters(taps, filter_room.floats);
#pragma omp parallel for schedule(static)
    for (Int i = 0; i < tasks(); i++) {
      float *values = room.floats + omp_get_thread_num() * floats, *results = values + N * value_plane;
      Task own_task = task(i);
      transform(x, own_task, values);
      for (Int panel = 0; panel < panels; panel++) {
        Int width = panel_width(panel);
        for (int f = 0; f < N; f++)
          for (Int tile = 0; tile < own_task.tiles; tile++)
            multiply({values + f * value_plane + tile * tile_values, s.stride_y * pixel, 1,
                      filter_room.floats + (panel * N + f) * filter_plane, width, inner,
                      results + f * result_plane + tile * tile_results, PANEL, false}, own_task.rows, width);
        for_results(own_task, panel, [&](Int at, Int left, Int channel, Int first) HERE {
          Vec own[N], sums[M], added = bias ? load_some(bias + channel, s.outs - channel) : Vec{};
          UNROLL for (int f = 0; f < N; f++) own[f] = load(results + f * result_plane + at);
          contract(T::result, own, sums);
          UNROLL for (int j = 0; j < M; j++) {
            if (left + j >= s.out_width) continue;
            store_some(y + first + j * s.outs, rectified(sums[j] + added, slope), s.outs - channel);
          }
        });
      }
    }
  }

  void gradient(const float *x, const float *dy, float *taps) const {
    Int threads = omp_get_max_threads(), sums_plane = panels * filter_plane;
    Int floats = N * (value_plane + result_plane + sums_plane);
    Room room(threads * floats);
    float *all_sums = room.floats + N * (value_plane + result_plane);
    for (Int thread = 0; thread < threads; thread++) std::fill_n(all_sums + thread * floats, N * sums_plane, 0.f);
#pragma omp parallel for schedule(static)
    for (Int i = 0; i < tasks(); i++) {
      Int thread = omp_get_thread_num();
      float *values = room.floats + thread * floats, *results = values + N * value_plane;
      Task own_task = task(i);
      transform(x, own_task, values);
      for (Int panel = 0; panel < panels; panel++) {
        for_results(own_task, panel, [&](Int at, Int left, Int channel, Int first) HERE {
          Vec given[M], own[N];
          UNROLL for (int j = 0; j < M; j++)
            given[j] = left + j < s.out_width ? load_some(dy + first + j * s.outs, s.outs - channel) : Vec{};
          expand(T::result, given, own);
          UNROLL for (int f = 0; f < N; f++) store(results + f * result_plane + at, own[f]);
        });
        for (int f = 0; f < N; f++)
          for (Int tile = 0; tile < own_task.tiles; tile++)
            multiply({values + f * value_plane + tile * tile_values, 1, s.stride_y * pixel,
                      results + f * result_plane + tile * tile_results, PANEL, own_task.rows,
                      all_sums + thread * floats + f * sums_plane + panel * filter_plane, PANEL, true},
                     inner, panel_width(panel));
      }
    }
    for (Int out = 0; out < s.outs; out += LANES)
      for (Int i = 0; i < inner; i++) {
        Vec own[N] = {}, filter[R];
        const float *sums = all_sums + out / PANEL * filter_plane + i * PANEL + out % PANEL;
        for (Int thread = 0; thread < threads; thread++)
          UNROLL for (int f = 0; f < N; f++) own[f] += load(sums + thread * floats + f * sums_plane);
        contract(T::filter, own, filter);
        Taps some = taps_of(i);
        for (Int tap = 0; tap < some.count; tap++)
          for (Int lane = 0; lane < LANES && out + lane < s.outs; lane++)
            taps[(out + lane) * filter_floats() + some.first + tap * s.stride_x] = filter[tap][lane];
      }
  }
};

// Those that return bool say whether there was memory.
#define WITH(M, R)                                                                                                    \
  extern "C" bool convolution_##M##_##R(const Shape *shape, const float *x, const float *taps, const float *bias,     \
                                        float slope, float *y) {                                                      \
    return had_memory([&] { Rows<M, R>{*shape}.convolution(x, taps, bias, slope, y); });                              \
  }                                                                                                                   \
  extern "C" bool gradient_##M##_##R(const Shape *shape, const float *x, const float *dy, float *taps) {              \
    return had_memory([&] { Rows<M, R>{*shape}.gradient(x, dy, taps); });                                             \
  }

WITH(4, 3)
WITH(5, 4)
WITH(4, 5)
