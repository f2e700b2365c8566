// Winograd's minimal filtering: its transforms, and the matrix products between them.
//
// A filter of R taps is taken for a polynomial, and M + R - 1 pixels for another; their product, which has M results, is
// found from its values at N = M + R - 1 points ("frequencies"), infinity being one: N multiplications in the place of
// M * R. Source: Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for
// Convolutional Neural Networks, 2015. The points are those of the least rounding errors among simple fractions.

#pragma once

#include "vectors.h"

// A matrix product keeps MOST_ROWS x PANEL sums in registers.
constexpr int MOST_ROWS = LANES == 16 ? 14 : LANES == 8 ? 6 : 12;
constexpr int PANEL = 2 * LANES;

// ---- the transforms ----

template <int ROWS, int COLUMNS> struct Matrix {
  float at[ROWS][COLUMNS];
};

// Besides 0 and infinity the points come in pairs: these and their negatives.
template <int M, int R> constexpr double POINTS[1] = {};
template <> constexpr double POINTS<2, 3>[] = {1};
template <> constexpr double POINTS<4, 3>[] = {0.625, 1.5};
template <> constexpr double POINTS<4, 5>[] = {0.5, 1, 2};
template <> constexpr double POINTS<5, 4>[] = {0.5, 1, 2};

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
