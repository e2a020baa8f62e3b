// The door of the native build (Node-API): every kernel becomes a function of typed arrays, lists of them and numbers.
// Also threads(n) -> n, instructions(name | null) -> the name in use, or null where the processor lacks them, and
// misalignment(array) -> bytes beyond the last multiple of 64. What arrays hold and how long they are is not checked here.

#include "table.h"

#include <node_api.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ARGUMENTS 32

#if defined(__x86_64__)
extern const Table kernels_avx512, kernels_avx2;
#endif
extern const Table kernels_plain;

static const struct {
  const char *name;
  const Table *table;
} *chosen, variants[] = {
#if defined(__x86_64__)
    {"avx512", &kernels_avx512},
    {"avx2", &kernels_avx2},
#endif
    {"plain", &kernels_plain},
};
#define VARIANTS (sizeof variants / sizeof *variants)

static bool runs_here(const char *name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (strcmp(name, "avx512") == 0)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
  if (strcmp(name, "avx2") == 0) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return strcmp(name, "plain") == 0;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // workers of Node share the threads and the scratch memory
static unsigned environments;

static napi_value refuse(napi_env env, const char *why) {
  napi_throw_type_error(env, NULL, why);
  return NULL;
}

static bool read_array(napi_env env, napi_value value, Argument *argument) {
  bool is_array = false;
  napi_typedarray_type type;
  size_t length;
  void *data = NULL;
  if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array ||
      napi_get_typedarray_info(env, value, &type, &length, &data, NULL, NULL) != napi_ok)
    return false;
  argument->floats = data;
  return type == napi_float32_array || type == napi_int32_array || type == napi_uint16_array;
}

/// A list of arrays becomes a block of pointers that the caller frees.
static bool read_list(napi_env env, napi_value value, Argument *argument, void **block) {
  bool is_list = false;
  uint32_t length;
  if (napi_is_array(env, value, &is_list) != napi_ok || !is_list || napi_get_array_length(env, value, &length) != napi_ok)
    return false;
  float **list = malloc((length + 1) * sizeof *list);
  *block = list;
  argument->list = list;
  if (!list) return false;
  for (uint32_t i = 0; i < length; i++) {
    napi_value item;
    Argument read;
    if (napi_get_element(env, value, i, &item) != napi_ok || !read_array(env, item, &read)) return false;
    list[i] = read.floats;
  }
  return true;
}

static bool read_number(napi_env env, napi_value value, Argument *argument) {
  bool flag;
  if (napi_get_value_double(env, value, &argument->number) == napi_ok) return true;
  if (napi_get_value_bool(env, value, &flag) != napi_ok) return false;
  argument->number = flag;
  return true;
}

static napi_value call(napi_env env, napi_callback_info info) {
  napi_value values[MAX_ARGUMENTS];
  Argument arguments[MAX_ARGUMENTS] = {0};
  void *blocks[MAX_ARGUMENTS] = {0};
  size_t count = MAX_ARGUMENTS;
  void *number;
  if (napi_get_cb_info(env, info, &count, values, NULL, &number) != napi_ok) return NULL;
  if (count > MAX_ARGUMENTS) return refuse(env, "A kernel takes at most 32 arguments.");
  bool read = true, done = false;
  for (size_t i = 0; read && i < count; i++)
    read = read_array(env, values[i], &arguments[i]) || read_number(env, values[i], &arguments[i]) ||
           read_list(env, values[i], &arguments[i], &blocks[i]);
  if (read) {
    pthread_mutex_lock(&lock);
    reset_scratch();
    done = chosen->table->entries[(size_t)number].run(arguments);
    pthread_mutex_unlock(&lock);
  }
  for (size_t i = 0; i < count; i++) free(blocks[i]);
  if (!read) return refuse(env, "A kernel takes Float32Array, Int32Array, Uint16Array, lists of them and numbers.");
  if (!done) napi_throw_error(env, NULL, "No memory is left for a kernel.");
  return NULL;
}

static napi_value set_threads(napi_env env, napi_callback_info info) {
  napi_value value, result;
  size_t count = 1;
  uint32_t threads;
  if (napi_get_cb_info(env, info, &count, &value, NULL, NULL) != napi_ok) return NULL;
  if (count < 1 || napi_get_value_uint32(env, value, &threads) != napi_ok) return refuse(env, "threads must be a number.");
  pthread_mutex_lock(&lock);
  unsigned now = set_thread_count(threads);
  pthread_mutex_unlock(&lock);
  return napi_create_uint32(env, now, &result) == napi_ok ? result : NULL;
}

/// Takes the kernels of the named instruction set, or the best for null; false where the processor lacks it.
static bool choose_variant(const char *name) {
  for (size_t i = 0; i < VARIANTS; i++) {
    if ((name && strcmp(name, variants[i].name) != 0) || !runs_here(variants[i].name)) continue;
    chosen = (const void *)&variants[i];
    return true;
  }
  return false;
}

static napi_value set_instructions(napi_env env, napi_callback_info info) {
  napi_value value, result;
  size_t count = 1, length;
  char name[16] = "";
  if (napi_get_cb_info(env, info, &count, &value, NULL, NULL) != napi_ok) return NULL;
  bool named = count == 1 && napi_get_value_string_utf8(env, value, name, sizeof name, &length) == napi_ok;
  pthread_mutex_lock(&lock);
  bool have = choose_variant(named ? name : NULL);
  pthread_mutex_unlock(&lock);
  napi_status status = have ? napi_create_string_utf8(env, chosen->name, NAPI_AUTO_LENGTH, &result) : napi_get_null(env, &result);
  return status == napi_ok ? result : NULL;
}

static napi_value misalignment(napi_env env, napi_callback_info info) {
  napi_value value, result;
  size_t count = 1;
  Argument array;
  if (napi_get_cb_info(env, info, &count, &value, NULL, NULL) != napi_ok) return NULL;
  if (count < 1 || !read_array(env, value, &array)) return refuse(env, "misalignment takes a typed array.");
  return napi_create_uint32(env, (uint32_t)((uintptr_t)array.floats % 64), &result) == napi_ok ? result : NULL;
}

/// Node may unload the library after its last environment: no thread may then still be inside it.
static void leave(void *unused) {
  (void)unused;
  pthread_mutex_lock(&lock);
  if (--environments == 0) set_thread_count(1);
  pthread_mutex_unlock(&lock);
}

static bool define(napi_env env, napi_value exports, const char *name, napi_callback run, void *data) {
  napi_value function;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, run, data, &function) == napi_ok &&
         napi_set_named_property(env, exports, name, function) == napi_ok;
}

NAPI_MODULE_INIT() {
  pthread_mutex_lock(&lock);
  environments++;
  if (!chosen) choose_variant(NULL);
  pthread_mutex_unlock(&lock);
  napi_value table;
  if (napi_create_object(env, &table) != napi_ok) return NULL;
  for (size_t i = 0; i < kernels_plain.count; i++)
    if (!define(env, table, kernels_plain.entries[i].name, call, (void *)i)) return NULL;
  if (napi_set_named_property(env, exports, "kernels", table) != napi_ok ||
      !define(env, exports, "threads", set_threads, NULL) ||
      !define(env, exports, "instructions", set_instructions, NULL) ||
      !define(env, exports, "misalignment", misalignment, NULL))
    return NULL;
  napi_add_env_cleanup_hook(env, leave, NULL);
  return exports;
}
