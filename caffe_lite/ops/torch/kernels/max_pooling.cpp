// Max pooling of images that are N, H, W, C in memory, for CPUs with vectors.
//
// A window's choice is the number in it of its largest element, row by row from 0 on: a float, as the values are, which
// costs a vector nothing. The gradient is gathered by each element from the windows that it lies in: it is written
// once, over nothing that was put there before.

#include <algorithm>
#include <limits>

#include "vectors.h"

// The choice of a window that meets no element.
constexpr float NONE = -1;

// The windows along one axis.
struct Axis {
  Int size, windows, kernel, stride, pad;

  Int start(Int window) const { return window * stride - pad; }
  Int end(Int window) const { return start(window) + kernel; }
};

struct Range {
  Int begin, end;
  Int count() const { return end - begin; }
};

static Range elements_of(const Axis &axis, Int window) {
  Int begin = std::max<Int>(axis.start(window), 0);
  return {begin, std::max(begin, std::min(axis.end(window), axis.size))};
}

// The windows of an element, from those of one before it.
static Range windows_of(const Axis &axis, Int element, Range windows) {
  while (windows.end < axis.windows && axis.start(windows.end) <= element) windows.end++;
  while (windows.begin < windows.end && axis.end(windows.begin) <= element) windows.begin++;
  return windows;
}

struct Shape {
  Int count, channels;  // at least LANES
  Axis down, across;
};

// Values of some pixels, the distances between them in floats.
struct Patch {
  Int height, width, row, pixel;
};

struct Largest {
  Patch patch;
  const float *x;
  Int number, kernel;  // the first's, and what a row adds
  float *y, *choice;

  template <int WIDTH> INLINE void at(Int c) const {
    Vec most[WIDTH], chosen[WIDTH];
    UNROLL for (int w = 0; w < WIDTH; w++) most[w] = Vec{} - std::numeric_limits<float>::infinity();
    UNROLL for (int w = 0; w < WIDTH; w++) chosen[w] = Vec{} + NONE;
    for (Int i = 0; i < patch.height; i++)
      for (Int j = 0; j < patch.width; j++) {
        const float *from = x + i * patch.row + j * patch.pixel + c;
        float own = number + i * kernel + j;
        UNROLL for (int w = 0; w < WIDTH; w++) {
          Vec value = load(from + w * LANES);
          auto larger = (value > most[w]) | (value != value);
          most[w] = larger ? value : most[w];
          chosen[w] = larger ? Vec{} + own : chosen[w];
        }
      }
    UNROLL for (int w = 0; w < WIDTH; w++) {
      store(y + c + w * LANES, chosen[w] == NONE ? Vec{} : most[w]);
      store(choice + c + w * LANES, chosen[w]);
    }
  }
};

extern "C" void max_pool(const Shape *shape, const float *x, float *y, float *choice) {
  const Axis &down = shape->down, &across = shape->across;
  const Int pixel = shape->channels, row = across.size * pixel;
#pragma omp parallel for schedule(static)
  for (Int line = 0; line < shape->count * down.windows; line++) {
    Int r = line % down.windows;
    Range rows = elements_of(down, r);
    const float *from = x + (line / down.windows * down.size + rows.begin) * row;
    for (Int s = 0; s < across.windows; s++) {
      Range columns = elements_of(across, s);
      Int number = (rows.begin - down.start(r)) * across.kernel + columns.begin - across.start(s);
      Int to = (line * across.windows + s) * pixel;
      for_channels<4>(pixel, Largest{{rows.count(), columns.count(), row, pixel}, from + columns.begin * pixel, number,
                                  across.kernel, y + to, choice + to});
    }
  }
}

struct Gathered {
  Patch windows;
  const float *dy, *choice;
  Int number, row, column;  // in the first window, and what is less in the next row's and column's
  float *dx;

  template <int WIDTH> INLINE void at(Int c) const {
    Vec total[WIDTH] = {};
    for (Int r = 0; r < windows.height; r++)
      for (Int s = 0; s < windows.width; s++) {
        Int from = r * windows.row + s * windows.pixel + c;
        float own = number - r * row - s * column;
        UNROLL for (int w = 0; w < WIDTH; w++) {
          Vec chosen = load(choice + from + w * LANES);
          total[w] = chosen == own ? total[w] + load(dy + from + w * LANES) : total[w];
        }
      }
    UNROLL for (int w = 0; w < WIDTH; w++) store(dx + c + w * LANES, total[w]);
  }
};

extern "C" void max_pool_backward(const Shape *shape, const float *dy, const float *choice, float *dx) {
  const Axis &down = shape->down, &across = shape->across;
  const Int pixel = shape->channels, row = across.windows * pixel;
#pragma omp parallel for schedule(static)
  for (Int line = 0; line < shape->count * down.size; line++) {
    Int i = line % down.size;
    Range rows = windows_of(down, i, {}), columns{};
    Int first = (line / down.size * down.windows + rows.begin) * row;
    for (Int j = 0; j < across.size; j++) {
      columns = windows_of(across, j, columns);
      Int number = (i - down.start(rows.begin)) * across.kernel + j - across.start(columns.begin);
      Int from = first + columns.begin * pixel;
      for_channels<4>(pixel, Gathered{{rows.count(), columns.count(), row, pixel}, dy + from, choice + from, number,
                                   down.stride * across.kernel, across.stride, dx + (line * across.size + j) * pixel});
    }
  }
}
