// Numbers picked from rows, as a router's gates are from its probabilities: y[t, j] = x[t, index[t, j]].

/// pick_columns(x[rows, width], index ints [rows, picks], y[rows, picks], rows, width, picks): 0 where the index is −1.
KERNEL(pick_columns) {
  const float *row = x[0].floats;
  const int32_t *index = x[1].ints;
  float *y = x[2].floats;
  size_t rows = size_of(x[3]), width = size_of(x[4]), picks = size_of(x[5]);
  for (size_t t = 0; t < rows; t++, row += width)
    for (size_t j = 0; j < picks; j++, index++) *y++ = *index < 0 ? 0 : row[*index];
  return true;
}

/// pick_columns_gradient(dy[rows, picks], index ints [rows, picks], dx[rows, width], rows, width, picks): each dx is
/// the sum over its picks, in their order.
KERNEL(pick_columns_gradient) {
  const float *dy = x[0].floats;
  const int32_t *index = x[1].ints;
  float *row = x[2].floats;
  size_t rows = size_of(x[3]), width = size_of(x[4]), picks = size_of(x[5]);
  memset(row, 0, rows * width * sizeof(float));
  for (size_t t = 0; t < rows; t++, row += width)
    for (size_t j = 0; j < picks; j++, index++, dy++)
      if (*index >= 0) row[*index] += *dy;
  return true;
}
