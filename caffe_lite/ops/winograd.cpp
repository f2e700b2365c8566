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

#include "vectors.h"

// A matrix product keeps MOST_ROWS x PANEL sums in registers.
constexpr int MOST_ROWS = LANES == 16 ? 14 : LANES == 8 ? 6 : 12;
constexpr int PANEL = 2 * LANES;

// What a thread works on at a time fits into its own cache.
constexpr Int CACHED = 768 << 10;

static Int whole_vectors(Int count) { return (count + LANES - 1) / LANES * LANES; }

struct Room {
  float *floats;
  explicit Room(Int count) : floats(new (std::align_val_t(64)) float[count]) {}
  ~Room() { operator delete[](floats, std::align_val_t(64)); }
};

// ---- the transforms ----

template <int ROWS, int COLUMNS> struct Matrix {
  float at[ROWS][COLUMNS];
};

// Besides 0 and infinity the points come in pairs: these and their negatives.
template <int M, int R> constexpr double POINTS[1] = {};
template <> constexpr double POINTS<2, 3>[] = {1};
template <> constexpr double POINTS<4, 3>[] = {0.625, 1.5};
template <> constexpr double POINTS<4, 5>[] = {0.5, 1, 2};

template <int M, int R> struct Transforms {
  static constexpr int N = M + R - 1;

  static constexpr double point(int i) { return i == 0 ? 0 : (i % 2 ? 1 : -1) * POINTS<M, R>[(i - 1) / 2]; }

  // From COUNT coefficients to the values at the points, each divided, if scaled, by its distances from the others.
  template <int COUNT> static constexpr Matrix<N, COUNT> values(bool scaled) {
    Matrix<N, COUNT> matrix{};
    for (int i = 0; i < N - 1; i++) {
      double value = 1;
      for (int j = 0; scaled && j < N - 1; j++)
        if (j != i) value /= point(i) - point(j);
      for (int j = 0; j < COUNT; j++, value *= point(i)) matrix.at[i][j] = value;
    }
    matrix.at[N - 1][COUNT - 1] = 1;
    return matrix;
  }

  // In row i the coefficients of the polynomial that is zero at all points but the i-th.
  static constexpr Matrix<N, N> zeros_elsewhere() {
    Matrix<N, N> matrix{};
    for (int i = 0; i < N; i++) {
      double c[N + 1] = {1};
      for (int j = 0, degree = 0; j < N - 1; j++) {
        if (j == i) continue;
        degree++;
        for (int k = degree; k >= 0; k--) c[k] = (k ? c[k - 1] : 0) - (k < degree ? point(j) * c[k] : 0);
      }
      for (int k = 0; k < N; k++) matrix.at[i][k] = c[k];
    }
    return matrix;
  }

  static constexpr Matrix<N, N> pixels = zeros_elsewhere();
  static constexpr Matrix<N, R> filter = values<R>(true);
  static constexpr Matrix<N, M> result = values<M>(false);
};

template <int COUNT> static INLINE Vec sum(const float (&factors)[COUNT], int first, int by, const Vec *from) {
  Vec total{};
  UNROLL for (int j = first; j < COUNT; j += by) if (factors[j] != 0) total += factors[j] * from[j];
  return total;
}

// to = matrix * from. The rows of a point and of its negative differ in the signs of their odd columns.
template <int N, int COUNT> static INLINE void expand(const Matrix<N, COUNT> &matrix, const Vec *from, Vec *to) {
  to[0] = sum(matrix.at[0], 0, 1, from);
  UNROLL for (int i = 1; i + 1 < N; i += 2) {
    Vec even = sum(matrix.at[i], 0, 2, from), odd = sum(matrix.at[i], 1, 2, from);
    to[i] = even + odd;
    to[i + 1] = even - odd;
  }
  to[N - 1] = sum(matrix.at[N - 1], 0, 1, from);
}

// to = the matrix's transpose * from.
template <int N, int COUNT> static INLINE void contract(const Matrix<N, COUNT> &matrix, const Vec *from, Vec *to) {
  Vec sums[N], differences[N];
  UNROLL for (int i = 1; i + 1 < N; i += 2) {
    sums[i] = from[i] + from[i + 1];
    differences[i] = from[i] - from[i + 1];
  }
  UNROLL for (int j = 0; j < COUNT; j++) {
    Vec total{};
    if (matrix.at[0][j] != 0) total += matrix.at[0][j] * from[0];
    if (matrix.at[N - 1][j] != 0) total += matrix.at[N - 1][j] * from[N - 1];
    UNROLL for (int i = 1; i + 1 < N; i += 2) if (matrix.at[i][j] != 0)
      total += matrix.at[i][j] * (j % 2 ? differences[i] : sums[i]);
    to[j] = total;
  }
}

// Both axes: from(i, j) is an element, to(i, j, value) takes one.
template <int N, int COUNT, class From, class To>
static INLINE void expand_both(const Matrix<N, COUNT> &matrix, From from, To to) {
  Vec half[N * COUNT];
  UNROLL for (int j = 0; j < COUNT; j++) {
    Vec column[COUNT], values[N];
    UNROLL for (int i = 0; i < COUNT; i++) column[i] = from(i, j);
    expand(matrix, column, values);
    UNROLL for (int i = 0; i < N; i++) half[i * COUNT + j] = values[i];
  }
  UNROLL for (int i = 0; i < N; i++) {
    Vec values[N];
    expand(matrix, half + i * COUNT, values);
    UNROLL for (int j = 0; j < N; j++) to(i, j, values[j]);
  }
}

template <int N, int COUNT, class From, class To>
static INLINE void contract_both(const Matrix<N, COUNT> &matrix, From from, To to) {
  Vec half[COUNT * N];
  UNROLL for (int i = 0; i < N; i++) {
    Vec row[N], values[COUNT];
    UNROLL for (int j = 0; j < N; j++) row[j] = from(i, j);
    contract(matrix, row, values);
    UNROLL for (int j = 0; j < COUNT; j++) half[j * N + i] = values[j];
  }
  UNROLL for (int j = 0; j < COUNT; j++) {
    Vec values[COUNT];
    contract(matrix, half + j * N, values);
    UNROLL for (int i = 0; i < COUNT; i++) to(i, j, values[i]);
  }
}

// ---- matrix products ----

// Adds a * b to c, or puts it there: ROWS x WIDTH vectors. The strides are those of a's rows and columns and of b's and
// c's rows.
struct Product {
  const float *a;
  Int a_row, a_column;
  const float *b;
  Int b_row, inner;
  float *c;
  Int c_row;
  bool add;
};

template <int ROWS, int WIDTH> static void multiply_rows(const Product &p) {
  Vec sums[ROWS][WIDTH];
  UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int w = 0; w < WIDTH; w++)
    sums[r][w] = p.add ? load(p.c + r * p.c_row + w * LANES) : Vec{};
  const float *a = p.a, *b = p.b;
  for (Int i = 0; i < p.inner; i++, a += p.a_column, b += p.b_row) {
    Vec right[WIDTH];
    UNROLL for (int w = 0; w < WIDTH; w++) right[w] = load(b + w * LANES);
    UNROLL for (int r = 0; r < ROWS; r++) {
      float left = a[r * p.a_row];
      UNROLL for (int w = 0; w < WIDTH; w++) sums[r][w] += left * right[w];
    }
  }
  UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int w = 0; w < WIDTH; w++)
    store(p.c + r * p.c_row + w * LANES, sums[r][w]);
}

using Multiply = void (*)(const Product &);

template <int WIDTH, int ROWS = MOST_ROWS> static Multiply multiply_of(Int rows) {
  if constexpr (ROWS == 1) return multiply_rows<1, WIDTH>;
  else return rows == ROWS ? multiply_rows<ROWS, WIDTH> : multiply_of<WIDTH, ROWS - 1>(rows);
}

// For any number of rows; the width is PANEL or LANES.
static void multiply(Product p, Int rows, Int width) {
  Int a_row = p.a_row;
  for (Int blocks = (rows + MOST_ROWS - 1) / MOST_ROWS; blocks; blocks--) {
    Int some = rows / blocks;
    (width == PANEL ? multiply_of<2> : multiply_of<1>)(some)(p);
    p.a += some * a_row;
    p.c += some * p.c_row;
    rows -= some;
  }
}

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

  // Filters (outs, ins, R, R), or with ``turned`` (ins, outs, R, R) turned by 180 degrees, as the gradient in the
  // images needs them, into panels of outs, of frequencies, of ins.
  static void filters(const float *taps, Int outs, Int ins, bool turned, float *to) {
    Int out_stride = turned ? R * R : ins * R * R, in_stride = turned ? outs * R * R : R * R;
#pragma omp parallel for collapse(2) schedule(static)
    for (Int out = 0; out < outs; out += LANES)
      for (Int in = 0; in < ins; in++) {
        Vec filter[R * R];
        for (int tap = 0; tap < R * R; tap++)
          for (int lane = 0; lane < LANES; lane++)
            filter[turned ? R * R - 1 - tap : tap][lane] =
                out + lane < outs ? taps[(out + lane) * out_stride + in * in_stride + tap] : 0;
        Int width = panel_width(outs, out / PANEL), plane = filter_plane(ins, width);
        float *panel = to + out / PANEL * F * filter_plane(ins, PANEL) + in * width + out % PANEL;
        expand_both(T::filter, [&](int i, int j) HERE { return filter[i * R + j]; },
                    [&](int i, int j, Vec value) HERE { store(panel + (i * N + j) * plane, value); });
      }
  }

  // Every task takes a group of tiles, and of the panels of y's channels all or a part.
  static void convolution(const Images &x, const float *filters, const Images &y, Int pad_y, Int pad_x,
                          const After &after) {
    Tiling tiling(y);
    Int threads = omp_get_max_threads(), panels = (y.channels + PANEL - 1) / PANEL;
    Int row = whole_vectors(x.channels), most = std::max<Int>(MOST_ROWS, CACHED / 4 / F / (row + PANEL));
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
        for (Int i = 0; i < count; i++)
          for (Int lane = 0; lane < width; lane += LANES) {
            Int n = tiling.image(first + i), top = tiling.y(first + i), left = tiling.x(first + i);
            Int channel = panel * PANEL + lane, some = y.channels - channel;
            const float *from = products + i * PANEL + lane;
            Vec bias = after.bias ? load_some(after.bias + channel, some) : Vec{};
            auto product = [&](int i, int j) HERE { return load(from + (i * N + j) * product_plane); };
            auto keep = [&](int i, int j, Vec value) HERE {
              if (top + i >= y.height || left + j >= y.width) return;
              value += bias;
              if (after.addend.data) value += load_some(after.addend.pixel(n, top + i, left + j) + channel, some);
              if (after.slope != 1) value = value < Vec{} ? (after.slope == 0 ? Vec{} : after.slope * value) : value;
              store_some(y.pixel(n, top + i, left + j) + channel, value, some);
            };
            contract_both(T::result, product, keep);
          }
      }
    }
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

template <class Work> static bool had_memory(Work work) {
  try {
    work();
    return true;
  } catch (const std::bad_alloc &) {
    return false;
  }
}

template <int M, int R> struct Kernels {
  using W = Winograd<M, R>;

  static void filters(const float *taps, Int outs, Int ins, Int groups, bool turned, float *to) {
    outs /= groups, ins /= groups;
    for (Int group = 0; group < groups; group++)
      W::filters(taps + group * outs * ins * R * R, outs, ins, turned, to + group * W::filter_floats(outs, ins));
  }

  static void convolution(const Shape &shape, float *x, const float *filters, const float *bias, float *addend,
                          float slope, float *y) {
    for (Int group = 0; group < shape.groups; group++) {
      Images from = shape.x(x, group), to = shape.y(y, group);
      After after{bias ? bias + group * to.channels : nullptr, shape.y(addend, group), slope};
      const float *own = filters + group * W::filter_floats(to.channels, from.channels);
      W::convolution(from, own, to, shape.pad_y, shape.pad_x, after);
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
  extern "C" void filters_##M##_##R(const float *taps, Int outs, Int ins, Int groups, bool turned, float *to) {       \
    Kernels<M, R>::filters(taps, outs, ins, groups, turned, to);                                                      \
  }                                                                                                                   \
  extern "C" bool convolution_##M##_##R(const Shape *shape, float *x, const float *filters, const float *bias,        \
                                        float *addend, float slope, float *y) {                                       \
    return had_memory([&] { Kernels<M, R>::convolution(*shape, x, filters, bias, addend, slope, y); });               \
  }                                                                                                                   \
  extern "C" bool gradient_##M##_##R(const Shape *shape, float *x, float *dy, float *taps) {                          \
    return had_memory([&] { Kernels<M, R>::gradient(*shape, x, dy, taps); });                                         \
  }

WITH(2, 3)
WITH(4, 3)
WITH(4, 5)
