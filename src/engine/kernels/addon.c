// The door from JavaScript (Node-API): checks every argument, describes the products and runs them.
// gemm(a, b, c, m, n, k, transposeA, transposeB, accumulate, bias | null)
// groupedGemm(x_ND, w_EFD[], offsets_E1, y_NF, d, f)            y[r] = x[r] w[e]ᵀ
// groupedGemmInput(dy_NF, w_EFD[], offsets_E1, dx_ND, d, f)     dx[r] = dy[r] w[e]
// groupedGemmWeight(dy_NF, x_ND, offsets_E1, dw_EFD[], d, f)    dw[e] = dy[segment]ᵀ x[segment]
// setThreads(n) -> n, setInstructions(name) -> whether the processor has them, info() -> { isa, threads }

#include "kernels.h"

#include <node_api.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t kernels = PTHREAD_MUTEX_INITIALIZER; // workers of Node share one pool and one packing buffer
static unsigned environments;

typedef struct {
  float *data;
  size_t length;
} Floats;

static bool refuse(napi_env env, const char *what, const char *why) {
  char message[160];
  snprintf(message, sizeof message, "%s %s.", what, why);
  napi_throw_range_error(env, NULL, message);
  return false;
}

static bool read_floats(napi_env env, napi_value value, const char *name, Floats *floats) {
  bool is_array = false;
  napi_typedarray_type type;
  void *data = NULL;
  if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array ||
      napi_get_typedarray_info(env, value, &type, &floats->length, &data, NULL, NULL) != napi_ok || type != napi_float32_array)
    return refuse(env, name, "must be a Float32Array");
  floats->data = data;
  return true;
}

static bool read_sized(napi_env env, napi_value value, const char *name, size_t length, Floats *floats) {
  return read_floats(env, value, name, floats) && (floats->length == length || refuse(env, name, "has the wrong length"));
}

static bool read_size(napi_env env, napi_value value, const char *name, size_t *size) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= 0 && number <= INT32_MAX) ||
      number != (double)(int32_t)number)
    return refuse(env, name, "must be a whole number from 0 to 2147483647");
  *size = (size_t)number;
  return true;
}

static bool read_flag(napi_env env, napi_value value, const char *name, bool *flag) {
  return napi_get_value_bool(env, value, flag) == napi_ok || refuse(env, name, "must be true or false");
}

static bool overlap(Floats x, Floats y) {
  return x.length && y.length && x.data < y.data + y.length && y.data < x.data + x.length;
}

static bool read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != napi_ok) return false;
  return given == count || refuse(env, "The number of arguments", "is wrong");
}

static void run(napi_env env, const Product *products, size_t count) {
  pthread_mutex_lock(&kernels);
  bool done = run_products(products, count);
  pthread_mutex_unlock(&kernels);
  if (!done) napi_throw_error(env, NULL, "No memory is left for the matrix product.");
}

static napi_value gemm(napi_env env, napi_callback_info info) {
  napi_value v[10];
  Floats a, b, c, bias = {0};
  size_t m, n, k;
  bool turn_a, turn_b, accumulate;
  napi_valuetype bias_type;
  if (!read_arguments(env, info, 10, v) || !read_size(env, v[3], "m", &m) || !read_size(env, v[4], "n", &n) ||
      !read_size(env, v[5], "k", &k) || !read_sized(env, v[0], "a", m * k, &a) ||
      !read_sized(env, v[1], "b", k * n, &b) || !read_sized(env, v[2], "c", m * n, &c) ||
      !read_flag(env, v[6], "transposeA", &turn_a) || !read_flag(env, v[7], "transposeB", &turn_b) ||
      !read_flag(env, v[8], "accumulate", &accumulate) || napi_typeof(env, v[9], &bias_type) != napi_ok)
    return NULL;
  if (bias_type != napi_null && !read_sized(env, v[9], "bias", n, &bias)) return NULL;
  if (overlap(a, c) || overlap(b, c) || overlap(bias, c)) {
    refuse(env, "c", "must not share memory with a, b or bias");
    return NULL;
  }
  Product product = {
      .a = a.data, .b = b.data, .c = c.data, .bias = bias.data, .m = m, .n = n, .k = k,
      .a_row = turn_a ? 1 : k, .a_column = turn_a ? m : 1,
      .b_row = turn_b ? 1 : n, .b_column = turn_b ? k : 1,
      .accumulate = accumulate,
  };
  run(env, &product, 1);
  return NULL;
}

/// What the three grouped products have in common: rows, E weights of [f, d], and offsets that cut the rows.
typedef struct {
  size_t d, f, rows;
  uint32_t experts;
  int32_t *offsets; // a copy, as another thread of JavaScript may write into the caller's
  Product *products;
} Groups;

static bool read_offsets(napi_env env, napi_value value, Groups *groups) {
  bool is_array = false;
  napi_typedarray_type type;
  size_t length;
  void *data;
  if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array ||
      napi_get_typedarray_info(env, value, &type, &length, &data, NULL, NULL) != napi_ok || type != napi_int32_array)
    return refuse(env, "offsets", "must be an Int32Array");
  if (length != (size_t)groups->experts + 1) return refuse(env, "offsets", "must have one more entry than there are weights");
  memcpy(groups->offsets, data, length * sizeof(int32_t));
  if (groups->offsets[0] != 0) return refuse(env, "offsets", "must begin with 0");
  for (uint32_t e = 0; e < groups->experts; e++)
    if (groups->offsets[e + 1] < groups->offsets[e]) return refuse(env, "offsets", "must not decrease");
  groups->rows = (size_t)groups->offsets[groups->experts];
  return true;
}

/// Arguments 2, 4 and 5, and the number of weights in the array `weights`. Call free_groups() whatever comes back.
static bool read_groups(napi_env env, napi_value *v, napi_value weights, Groups *groups) {
  bool is_array = false;
  if (napi_is_array(env, weights, &is_array) != napi_ok || !is_array ||
      napi_get_array_length(env, weights, &groups->experts) != napi_ok)
    return refuse(env, "weights", "must be an array of Float32Array");
  groups->products = calloc((size_t)groups->experts + 1, sizeof(Product));
  groups->offsets = calloc((size_t)groups->experts + 1, sizeof(int32_t));
  if (!groups->products || !groups->offsets) return refuse(env, "weights", "are too many for the memory that is left");
  return read_size(env, v[4], "d", &groups->d) && read_size(env, v[5], "f", &groups->f) && read_offsets(env, v[2], groups);
}

static void free_groups(Groups *groups) {
  free(groups->products);
  free(groups->offsets);
}

static bool read_weight(napi_env env, napi_value weights, const Groups *groups, uint32_t e, Floats *weight) {
  napi_value value;
  return napi_get_element(env, weights, e, &value) == napi_ok &&
         read_sized(env, value, "weight", groups->d * groups->f, weight);
}

/// in [N, inner] times each weight, turned or not, into out [N, outer].
static napi_value grouped_rows(napi_env env, napi_callback_info info, bool forward) {
  napi_value v[6];
  Groups groups = {0};
  Floats in, out, weight;
  size_t inner, outer;
  if (!read_arguments(env, info, 6, v) || !read_groups(env, v, v[1], &groups)) goto end;
  inner = forward ? groups.d : groups.f;
  outer = forward ? groups.f : groups.d;
  if (!read_sized(env, v[0], "input", groups.rows * inner, &in) ||
      !read_sized(env, v[3], "output", groups.rows * outer, &out))
    goto end;
  if (overlap(in, out)) {
    refuse(env, "output", "must not share memory with the input");
    goto end;
  }
  for (uint32_t e = 0; e < groups.experts; e++) {
    if (!read_weight(env, v[1], &groups, e, &weight)) goto end;
    if (overlap(weight, out)) {
      refuse(env, "output", "must not share memory with a weight");
      goto end;
    }
    size_t start = (size_t)groups.offsets[e], end_row = (size_t)groups.offsets[e + 1];
    groups.products[e] = (Product){
        .a = in.data + start * inner, .b = weight.data, .c = out.data + start * outer,
        .m = end_row - start, .n = outer, .k = inner,
        .a_row = inner, .a_column = 1,
        .b_row = forward ? 1 : outer, .b_column = forward ? inner : 1,
    };
  }
  run(env, groups.products, groups.experts);
end:
  free_groups(&groups);
  return NULL;
}

static napi_value grouped_gemm(napi_env env, napi_callback_info info) { return grouped_rows(env, info, true); }
static napi_value grouped_gemm_input(napi_env env, napi_callback_info info) { return grouped_rows(env, info, false); }

/// Whether the gradient of weight e shares memory with an input or with an earlier gradient.
static bool shares_memory(const Product *products, uint32_t e, Floats gradient, Floats dy, Floats x) {
  if (overlap(gradient, dy) || overlap(gradient, x)) return true;
  for (uint32_t i = 0; i < e; i++)
    if (overlap(gradient, (Floats){products[i].c, gradient.length})) return true;
  return false;
}

static napi_value grouped_gemm_weight(napi_env env, napi_callback_info info) {
  napi_value v[6];
  Groups groups = {0};
  Floats dy, x, gradient;
  if (!read_arguments(env, info, 6, v) || !read_groups(env, v, v[3], &groups)) goto end;
  if (!read_sized(env, v[0], "gradient", groups.rows * groups.f, &dy) ||
      !read_sized(env, v[1], "input", groups.rows * groups.d, &x))
    goto end;
  for (uint32_t e = 0; e < groups.experts; e++) {
    if (!read_weight(env, v[3], &groups, e, &gradient)) goto end;
    if (shares_memory(groups.products, e, gradient, dy, x)) {
      refuse(env, "A weight gradient", "must not share memory with another argument");
      goto end;
    }
    size_t start = (size_t)groups.offsets[e], end_row = (size_t)groups.offsets[e + 1];
    groups.products[e] = (Product){
        .a = dy.data + start * groups.f, .b = x.data + start * groups.d, .c = gradient.data,
        .m = groups.f, .n = groups.d, .k = end_row - start,
        .a_row = 1, .a_column = groups.f,
        .b_row = groups.d, .b_column = 1,
    };
  }
  run(env, groups.products, groups.experts);
end:
  free_groups(&groups);
  return NULL;
}

static napi_value set_threads(napi_env env, napi_callback_info info) {
  napi_value value, result;
  size_t count;
  if (!read_arguments(env, info, 1, &value) || !read_size(env, value, "threads", &count)) return NULL;
  if (count < 1 || count > MAX_THREADS) {
    refuse(env, "threads", "must be from 1 to 64");
    return NULL;
  }
  pthread_mutex_lock(&kernels);
  unsigned now = set_thread_count((unsigned)count);
  pthread_mutex_unlock(&kernels);
  return napi_create_uint32(env, now, &result) == napi_ok ? result : NULL;
}

static napi_value set_instructions(napi_env env, napi_callback_info info) {
  napi_value value, result;
  char name[16] = "";
  if (!read_arguments(env, info, 1, &value)) return NULL;
  if (napi_get_value_string_utf8(env, value, name, sizeof name, NULL) != napi_ok) {
    refuse(env, "The name of an instruction set", "must be a string");
    return NULL;
  }
  pthread_mutex_lock(&kernels);
  bool used = use_instruction_set(name);
  pthread_mutex_unlock(&kernels);
  return napi_get_boolean(env, used, &result) == napi_ok ? result : NULL;
}

static napi_value describe(napi_env env, napi_callback_info info) {
  napi_value result, value;
  (void)info;
  if (napi_create_object(env, &result) != napi_ok) return NULL;
  if (napi_create_string_utf8(env, instruction_set(), NAPI_AUTO_LENGTH, &value) == napi_ok)
    napi_set_named_property(env, result, "isa", value);
  if (napi_create_uint32(env, thread_count(), &value) == napi_ok) napi_set_named_property(env, result, "threads", value);
  return result;
}

/// Node may unload the library after its last environment: no thread may then still be inside it.
static void leave(void *unused) {
  (void)unused;
  pthread_mutex_lock(&kernels);
  if (--environments == 0) set_thread_count(1);
  pthread_mutex_unlock(&kernels);
}

NAPI_MODULE_INIT() {
  static const struct {
    const char *name;
    napi_callback run;
  } functions[] = {
      {"gemm", gemm},
      {"groupedGemm", grouped_gemm},
      {"groupedGemmInput", grouped_gemm_input},
      {"groupedGemmWeight", grouped_gemm_weight},
      {"setThreads", set_threads},
      {"setInstructions", set_instructions},
      {"info", describe},
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].run, NULL, &function) != napi_ok ||
        napi_set_named_property(env, exports, functions[i].name, function) != napi_ok)
      return NULL;
  }
  pthread_mutex_lock(&kernels);
  environments++;
  pthread_mutex_unlock(&kernels);
  napi_add_env_cleanup_hook(env, leave, NULL);
  return exports;
}
