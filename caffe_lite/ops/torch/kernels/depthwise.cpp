// Convolution of every channel by itself, and its gradients, for images that are N, H, W, C in memory.
//
// The results, and the gradient of the images, are sums of one kind: each place of an image adds up the places of
// another one to which taps lead. The gradient of the taps reads the same rows, while they are in the cache.

#include <algorithm>
#include <vector>

#include <omp.h>

#include "vectors.h"

// The windows along one axis.
struct Axis {
  Int size, windows, kernel, stride, pad, dilation;

  Int first(Int tap) const { return tap * dilation - pad; }  // the element that it meets in window 0
};

struct Shape {
  Int count, channels;  // at least LANES
  Axis down, across;

  Int taps() const { return down.kernel * across.kernel; }
};

// ---- where taps lead ----

constexpr int MOST_TOGETHER = 3;

// A tap, and how many taps from it on lead to places side by side, which are read once for all of them.
struct Tap {
  Int number, offset;
  int together = 1;
};

static Int divided_up(Int a, Int b) { return a / b + (a % b > 0); }

// Places along an axis from which the same taps lead: place t, of count, is start + t * step, and a tap leads to place
// t * pace + offset, of size others. From begin to end, no tap leads past the edge.
struct Line {
  Int start, step, count, pace, size;
  std::vector<Tap> taps{};
  Int begin = 0, end = count, first = 0;  // the last tap that is the first of some

  // In the order of their offsets.
  void add(Int number, Int offset) {
    taps.push_back({number, offset});
    Tap &leader = taps[first];
    Int last = taps.size() - 1;
    if (last > first && leader.together < MOST_TOGETHER && offset == leader.offset + leader.together) leader.together++;
    else first = last;
    begin = std::max(begin, divided_up(-offset, pace));
    end = std::max(begin, std::min(end, divided_up(size - offset, pace)));
  }
};

// From windows to elements.
static std::vector<Line> from_windows(const Axis &axis) {
  Line line{0, 1, axis.windows, axis.stride, axis.size};
  for (Int tap = 0; tap < axis.kernel; tap++) line.add(tap, axis.first(tap));
  return {line};
}

// From elements to windows. With a stride, neighbours have different taps.
static std::vector<Line> from_elements(const Axis &axis) {
  std::vector<Line> lines;
  for (Int start = 0; start < axis.stride; start++) {
    Line line{start, axis.stride, divided_up(axis.size - start, axis.stride), 1, axis.windows};
    for (Int tap = axis.kernel - 1; tap >= 0; tap--) {
      Int way = start - axis.first(tap);
      if (way % axis.stride == 0) line.add(tap, way / axis.stride);
    }
    lines.push_back(line);
  }
  return lines;
}

// ---- sums ----

// Taps that lead from place 0 of a line to places side by side, of which from is the first.
struct Run {
  const float *from, *weights[MOST_TOGETHER];
  int taps;
};

// What will be read soon, which the processor does not foresee: rows that the next row's taps lead to, and a row beside
// the results.
struct Ahead {
  std::vector<const float *> rows{};
  const float *beside = nullptr;
};

// COUNT places of a line, none of them at the edge, as distances in floats: ``from`` from where the runs lead, ``to``
// from the row's first result. PACE is the line's, or 0 if that is another.
template <int PACE, int COUNT> struct Sums {
  const std::vector<Run> &runs;
  Int channels, step, pace;
  const float *bias;
  float slope;
  float *row;
  const Ahead &ahead;
  Int from, to;

  template <int TAPS, int WIDTH> INLINE void add(const Run &run, Int c, Vec (*totals)[WIDTH]) const {
    UNROLL for (int w = 0; w < WIDTH; w++, c += LANES) {
      const float *first = run.from + from + c;
      Vec weights[TAPS];
      UNROLL for (int i = 0; i < TAPS; i++) weights[i] = load(run.weights[i] + c);
      if (PACE) {
        UNROLL for (int place = 0; place < (COUNT - 1) * PACE + TAPS; place++) {
          Vec value = load(first + place * channels);
          UNROLL for (int i = 0; i < COUNT; i++)
            if (int tap = place - i * PACE; tap >= 0 && tap < TAPS) totals[i][w] += weights[tap] * value;
        }
      } else {
        UNROLL for (int i = 0; i < COUNT; i++) totals[i][w] += weights[0] * load(first + i * pace * channels);
      }
    }
  }

  template <int WIDTH> INLINE void at(Int c) const {
    Vec totals[COUNT][WIDTH];
    UNROLL for (int i = 0; i < COUNT; i++) UNROLL for (int w = 0; w < WIDTH; w++)
      totals[i][w] = bias ? load(bias + c + w * LANES) : Vec{};
    for (const Run &run : runs)
      if (PACE == 0 || run.taps == 1) add<1>(run, c, totals);
      else if (run.taps == 2) add<2>(run, c, totals);
      else add<3>(run, c, totals);
    for (const float *next : ahead.rows)
      for (Int i = 0; i < COUNT * pace; i++) __builtin_prefetch(next + from + i * channels + c);
    for (int i = 0; i < COUNT; i++) {
      Int place = to + i * step * channels + c;
      UNROLL for (int w = 0; w < WIDTH; w++) store(row + place + w * LANES, rectified(totals[i][w], slope));
      if (ahead.beside) __builtin_prefetch(ahead.beside + place);
    }
  }
};

// Images, from whose places taps lead to those of others.
struct Images {
  Int count, channels, kernel;  // the taps in a row
  std::vector<Line> down, across;

  static Int places(const std::vector<Line> &lines) {
    Int sum = 0;
    for (const Line &line : lines) sum += line.count;
    return sum;
  }
  Int height = places(down), rows = count * height;
  Int row_floats = places(across) * channels, other_row_floats = across[0].size * channels;

  // Calls work(row of taps, row that it leads to). Rows are counted through all images.
  template <class Work> void for_rows(Int row, const Work &work) const {
    Int n = row / height, y = row % height;
    const Line &line = down[y % Int(down.size())];
    for (const Tap &tap : line.taps) {
      Int other = y / line.step * line.pace + tap.offset;
      if (other >= 0 && other < line.size) work(tap.number, n * line.size + other);
    }
  }

  struct Source {
    const float *from, *weights;
  };

  struct Row {
    const Images &images;
    std::vector<Source> sources;
    const float *bias;
    float slope;
    float *to;
    Ahead ahead;
    Int channels = images.channels;

    template <int PACE> void sum(const Line &line) const {
      constexpr int COUNT = 4;
      std::vector<Run> inside, edge;
      for (const Source &source : sources)
        for (Int i = 0; i < Int(line.taps.size()); i += PACE ? line.taps[i].together : 1) {
          Run run{source.from + line.taps[i].offset * channels, {}, line.taps[i].together};
          for (int k = 0; k < run.taps; k++) run.weights[k] = source.weights + line.taps[i + k].number * channels;
          inside.push_back(run);
        }
      auto place = [&](Int t) { return (line.start + t * line.step) * channels; };
      for (Int t = 0; t < line.count;) {
        if (t >= line.begin && t < line.end && line.end - line.begin >= COUNT) {
          t = std::min(t, line.end - COUNT);  // the last ones may be computed twice
          for_channels<2>(channels, Sums<PACE, COUNT>{inside, channels, line.step, line.pace, bias, slope, to, ahead,
                                                   t * line.pace * channels, place(t)});
          t += COUNT;
          continue;
        }
        edge.clear();
        for (const Source &source : sources)
          for (const Tap &tap : line.taps) {
            Int other = t * line.pace + tap.offset;
            if (other >= 0 && other < line.size)
              edge.push_back({source.from + other * channels, {source.weights + tap.number * channels}, 1});
          }
        for_channels<2>(channels, Sums<1, 1>{edge, channels, line.step, line.pace, bias, slope, to, {}, 0, place(t)});
        t++;
      }
    }
  };

  // A row of sums; soon, a row of the same shape is read.
  void sum(Int row, const float *from, const float *weights, const float *bias, float slope, float *to,
           const float *beside) const {
    Row own{*this, {}, bias, slope, to + row * row_floats, {{}, beside}};
    Int last = -1;
    for_rows(row, [&](Int taps, Int other) {
      own.sources.push_back({from + other * other_row_floats, weights + taps * kernel * channels});
      last = std::max(last, other);
    });
    if (row + 1 < rows)
      for_rows(row + 1, [&](Int, Int other) {
        if (other > last) own.ahead.rows.push_back(from + other * other_row_floats);
      });
    for (const Line &line : across) {
      if (line.pace == 1) own.sum<1>(line);
      else if (line.pace == 2) own.sum<2>(line);
      else own.sum<0>(line);
      own.ahead.rows.clear();
    }
  }
};

// ---- the gradients of taps ----

// Those of COUNT taps side by side: adds the products of a row of windows and the elements that they meet.
template <int COUNT> struct Products {
  const Axis &axis;
  Int channels, begin, end;  // the windows
  const float *dy, *x;       // of window 0, and of the element that the first tap meets in it
  float *sums;
  Int tap_sums;  // from the sums of one tap to those of the next

  template <int WIDTH> INLINE void at(Int c) const {
    float *own = sums + (c % LANES ? tap_sums - LANES : c);
    const Int stride = axis.stride * channels, dilation = axis.dilation * channels;
    Vec totals[COUNT][WIDTH];
    UNROLL for (int i = 0; i < COUNT; i++) UNROLL for (int w = 0; w < WIDTH; w++)
      totals[i][w] = load(own + i * tap_sums + w * LANES);
    const float *given = dy + begin * channels + c, *met = x + begin * stride + c;
    for (Int window = begin; window < end; window++, given += channels, met += stride)
      UNROLL for (int w = 0; w < WIDTH; w++) {
        Vec value = load(given + w * LANES);
        UNROLL for (int i = 0; i < COUNT; i++) totals[i][w] += value * load(met + i * dilation + w * LANES);
      }
    UNROLL for (int i = 0; i < COUNT; i++) UNROLL for (int w = 0; w < WIDTH; w++)
      store(own + i * tap_sums + w * LANES, totals[i][w]);
  }
};

struct TapGradients {
  const Shape &s;
  Int tap_sums = whole_vectors(s.channels), floats = s.taps() * tap_sums;
  std::vector<Line> lines{};  // from windows, for each tap of a row by itself

  explicit TapGradients(const Shape &shape) : s(shape) {
    const Axis &axis = s.across;
    for (Int tap = 0; tap < axis.kernel; tap++) {
      lines.push_back({0, 1, axis.windows, axis.stride, axis.size});
      lines.back().add(tap, axis.first(tap));
    }
  }

  template <int COUNT> void add(Int tap, Int begin, Int end, const float *dy, const float *x, float *sums) const {
    if (begin < end)
      for_channels<2>(s.channels, Products<COUNT>{s.across, s.channels, begin, end, dy,
                                               x + s.across.first(tap) * s.channels, sums + tap * tap_sums, tap_sums});
  }

  // A row of taps leads from a row of windows to one of elements. Three taps are summed together in the windows where
  // all of them meet an element.
  void add_row(const float *dy, const float *x, float *sums) const {
    for (Int tap = 0, count; tap < s.across.kernel; tap += count) {
      count = tap + 3 <= s.across.kernel ? 3 : 1;
      Int begin = 0, end = count == 3 ? s.across.windows : 0;
      for (Int i = tap; i < tap + count; i++) {
        begin = std::max(begin, lines[i].begin);
        end = std::min(end, lines[i].end);
      }
      if (begin >= end) begin = end = 0;
      add<3>(tap, begin, end, dy, x, sums);
      for (Int i = tap; i < tap + count; i++) {
        add<1>(i, lines[i].begin, std::min(lines[i].end, begin), dy, x, sums);
        add<1>(i, std::max(lines[i].begin, end), lines[i].end, dy, x, sums);
      }
    }
  }

  // From the sums of all threads.
  void write(const float *sums, Int threads, float *dw) const {
    Int whole = s.channels / LANES * LANES;
    for (Int c = 0; c < s.channels; c++)
      for (Int tap = 0; tap < s.taps(); tap++) {
        const float *own = sums + tap * tap_sums + (c < whole ? c : tap_sums - s.channels + c);
        float total = 0;
        for (Int thread = 0; thread < threads; thread++) total += own[thread * floats];
        dw[c * s.taps() + tap] = total;
      }
  }
};

// Puts the channels of weights (channels, taps) innermost.
static void turn(const Shape &s, const float *weights, float *to) {
  for (Int tap = 0; tap < s.taps(); tap++)
    for (Int c = 0; c < s.channels; c++) to[tap * s.channels + c] = weights[c * s.taps() + tap];
}

static void convolution(const Shape &s, const float *x, const float *weights, const float *bias, float slope,
                        float *y) {
  Room turned(s.taps() * s.channels);
  turn(s, weights, turned.floats);
  Images windows{s.count, s.channels, s.across.kernel, from_windows(s.down), from_windows(s.across)};
#pragma omp parallel for schedule(static)
  for (Int row = 0; row < windows.rows; row++) windows.sum(row, x, turned.floats, bias, slope, y, nullptr);
}

static void gradients(const Shape &s, const float *dy, const float *x, const float *weights, float *dx, float *dw) {
  TapGradients taps(s);
  Int threads = omp_get_max_threads();
  Room turned(s.taps() * s.channels), sums(threads * taps.floats);
  turn(s, weights, turned.floats);
  std::fill_n(sums.floats, threads * taps.floats, 0.f);
  Images elements{s.count, s.channels, s.across.kernel, from_elements(s.down), from_elements(s.across)};
#pragma omp parallel for schedule(static)
  for (Int row = 0; row < elements.rows; row++) {
    const float *own = x + row * elements.row_floats;
    if (dx) elements.sum(row, dy, turned.floats, nullptr, 1, dx, dw ? own : nullptr);
    if (dw)
      elements.for_rows(row, [&](Int tap_row, Int window_row) {
        float *own_sums = sums.floats + omp_get_thread_num() * taps.floats;
        taps.add_row(dy + window_row * elements.other_row_floats, own,
                     own_sums + tap_row * s.across.kernel * taps.tap_sums);
      });
  }
  if (dw) taps.write(sums.floats, threads, dw);
}

// Both say whether there was memory. A gradient without a place is not computed.
extern "C" bool depthwise(const Shape *shape, const float *x, const float *weights, const float *bias, float slope,
                          float *y) {
  return had_memory([&] { convolution(*shape, x, weights, bias, slope, y); });
}
extern "C" bool depthwise_backward(const Shape *shape, const float *dy, const float *x, const float *weights,
                                   float *dx, float *dw) {
  return had_memory([&] { gradients(*shape, dy, x, weights, dx, dw); });
}
