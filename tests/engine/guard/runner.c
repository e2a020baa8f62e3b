// Runs kernels on the cases of a file (cases.ts writes it) and tells of each that misbehaves: one that touches memory
// outside of its arguments, writes an input, leaves part of an output unwritten, or gives other bits on three threads.
//   runner FILE plain|avx2|avx512 end|start|heap
// end, start: each array ends, or starts, at a page that may not be touched, and inputs may not be written. heap: each
// array is a block of its own from malloc, for sanitizers. A line "kernel TAB shape TAB what is wrong" for each failure.

#define _GNU_SOURCE
#include "table.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGUMENTS 32
#define UNWRITTEN 0x7fc0dead // a NaN that no arithmetic starts from
#define FENCE 0xa5           // bytes around an array that must live

#if defined(__x86_64__)
extern const Table kernels_avx512, kernels_avx2;
#endif
extern const Table kernels_plain;

enum { INPUT, OUTPUT, BOTH };
static enum { AT_END, AT_START, ON_HEAP } place;

/// An array as the file gives it, and where a kernel sees it.
typedef struct {
  uint32_t role, bytes;
  const char *values; // NULL for an output
  char *data, *region;
  size_t region_bytes; // the pages between the forbidden ones
  char *first;         // an output's bits on one thread
  uint32_t argument;
} Array;

typedef struct {
  const char *kernel, *shape;
  Argument arguments[MAX_ARGUMENTS];
  Array *arrays;
  float **lists[MAX_ARGUMENTS];
  uint32_t array_count, argument_count;
} Case;

static Case now; // static, as a fault must find it

static const char *file_at, *file_end;

static void take(void *to, size_t bytes) {
  memcpy(to, file_at, bytes);
  file_at += bytes;
}

static uint32_t take_word(void) {
  uint32_t word;
  take(&word, sizeof word);
  return word;
}

static const char *take_bytes(size_t bytes) {
  const char *at = file_at;
  file_at += bytes;
  return at;
}

static size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static void *memory_or_die(void *memory) {
  if (memory && memory != MAP_FAILED) return memory;
  perror("runner");
  _exit(3);
}

/// Room for the array; `role` and `bytes` are set.
static void make_room(Array *array) {
  if (place == ON_HEAP) {
    array->data = memory_or_die(malloc(array->bytes ? array->bytes : 1));
    return;
  }
  array->region_bytes = (array->bytes / page() + 1) * page();
  char *all = memory_or_die(mmap(NULL, array->region_bytes + 2 * page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  array->region = all + page();
  mprotect(array->region, array->region_bytes, PROT_READ | PROT_WRITE);
  memset(array->region, FENCE, array->region_bytes);
  array->data = place == AT_START ? array->region : array->region + array->region_bytes - array->bytes;
}

static void give_back_room(Array *array) {
  if (place == ON_HEAP) free(array->data);
  else munmap(array->region - page(), array->region_bytes + 2 * page());
}

static void fill(Array *array) {
  if (array->values) memcpy(array->data, array->values, array->bytes);
  else
    for (size_t i = 0; i + 4 <= array->bytes; i += 4) memcpy(array->data + i, &(uint32_t){UNWRITTEN}, 4);
  if (array->role == INPUT && place != ON_HEAP) mprotect(array->region, array->region_bytes, PROT_READ);
}

static float *read_array(uint32_t argument) {
  Array *array = &now.arrays[now.array_count++];
  *array = (Array){.role = take_word(), .argument = argument};
  array->bytes = take_word();
  if (array->role != OUTPUT) array->values = take_bytes(array->bytes);
  make_room(array);
  return (float *)(void *)array->data;
}

#define HEADER (32 + 128) // kernel and shape, filled up with NULs; then the bytes of the rest of the case

/// Kinds of arguments: 0 a number, 1 an array, 2 a list of arrays.
static void read_case(void) {
  now = (Case){.kernel = take_bytes(32), .shape = take_bytes(HEADER - 32)};
  take_word();
  now.arrays = memory_or_die(calloc(take_word() + 1, sizeof(Array)));
  now.argument_count = take_word();
  for (uint32_t i = 0; i < now.argument_count; i++) {
    uint32_t kind = take_word();
    if (kind == 0) take(&now.arguments[i].number, sizeof(double));
    if (kind == 1) now.arguments[i].floats = read_array(i);
    if (kind != 2) continue;
    uint32_t length = take_word();
    now.lists[i] = memory_or_die(malloc(length * sizeof(float *) + 1));
    for (uint32_t j = 0; j < length; j++) now.lists[i][j] = read_array(i);
    now.arguments[i].list = now.lists[i];
  }
}

static void drop_case(void) {
  for (uint32_t i = 0; i < now.array_count; i++) {
    give_back_room(&now.arrays[i]);
    free(now.arrays[i].first);
  }
  for (uint32_t i = 0; i < now.argument_count; i++) free(now.lists[i]);
  free(now.arrays);
}

static void tell(const char *what, uint32_t argument) {
  char line[512];
  int length = snprintf(line, sizeof line, "%s\t%s\t%s %u\n", now.kernel, now.shape, what, argument);
  if (write(STDOUT_FILENO, line, (size_t)length) != length) _exit(3);
}

/// A fault: the array whose pages, or those beside them, were touched.
static void on_fault(int number, siginfo_t *info, void *unused) {
  (void)unused;
  (void)number;
  const char *address = info->si_addr;
  for (uint32_t i = 0; i < now.array_count; i++) {
    const Array *array = &now.arrays[i];
    if (address < array->region - page() || address >= array->region + array->region_bytes + page()) continue;
    if (address >= array->region + array->region_bytes) tell("goes beyond the end of argument", array->argument);
    else if (address < array->region) tell("goes before the start of argument", array->argument);
    else tell("writes the input that is argument", array->argument);
    _exit(1);
  }
  tell("touches memory far from its arguments, signal", (uint32_t)info->si_signo);
  _exit(1);
}

static void check_fence(const Array *array) {
  if (place == ON_HEAP) return;
  for (const char *at = array->region; at < array->region + array->region_bytes; at++) {
    if (at == array->data) at += array->bytes;
    if (at < array->region + array->region_bytes && *at != (char)FENCE) {
      tell("writes near argument", array->argument);
      return;
    }
  }
}

static void check_array(Array *array, unsigned threads) {
  check_fence(array);
  if (array->role == INPUT) {
    if (memcmp(array->data, array->values, array->bytes) != 0) tell("changes the input that is argument", array->argument);
    return;
  }
  for (size_t i = 0; array->role == OUTPUT && i + 4 <= array->bytes; i += 4)
    if (memcmp(array->data + i, &(uint32_t){UNWRITTEN}, 4) == 0) {
      tell("leaves numbers unwritten in argument", array->argument);
      break;
    }
  if (threads == 1) {
    array->first = memory_or_die(malloc(array->bytes + 1));
    memcpy(array->first, array->data, array->bytes);
  } else if (memcmp(array->first, array->data, array->bytes) != 0) {
    tell("gives other bits on three threads in argument", array->argument);
  }
}

static void run_case(const Table *table) {
  Kernel run = NULL;
  for (size_t i = 0; i < table->count; i++)
    if (strcmp(table->entries[i].name, now.kernel) == 0) run = table->entries[i].run;
  if (!run) {
    tell("is not in the table, arguments", now.argument_count);
    return;
  }
  for (unsigned threads = 1; threads <= 3; threads += 2) {
    if (set_thread_count(threads) != threads) tell("does not start threads", threads);
    for (uint32_t i = 0; i < now.array_count; i++) {
      if (threads > 1 && place != ON_HEAP)
        mprotect(now.arrays[i].region, now.arrays[i].region_bytes, PROT_READ | PROT_WRITE);
      fill(&now.arrays[i]);
    }
    reset_scratch();
    if (!run(now.arguments)) tell("runs out of memory on threads:", threads);
    for (uint32_t i = 0; i < now.array_count; i++) check_array(&now.arrays[i], threads);
  }
}

/// All cases of one kernel, or all there are. Stops at the first case of another kernel.
static void run_cases(const Table *table, bool one_kernel) {
  const char *kernel = file_at;
  while (file_at < file_end && (!one_kernel || strcmp(file_at, kernel) == 0)) {
    read_case();
    run_case(table);
    drop_case();
  }
}

/// Each kernel in a process of its own, so that a fault ends only that.
static void run_apart(const Table *table) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  while (file_at < file_end) {
    pid_t child = fork();
    if (child == 0) {
      sigaction(SIGSEGV, &action, NULL);
      sigaction(SIGBUS, &action, NULL);
      run_cases(table, true);
      _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    const char *kernel = file_at;
    while (file_at < file_end && strcmp(file_at, kernel) == 0) {
      file_at += HEADER;
      uint32_t rest = take_word();
      file_at += rest;
    }
    now.kernel = kernel;
    now.shape = "";
    if (!WIFEXITED(status)) tell("ends by signal", (uint32_t)WTERMSIG(status));
  }
}

static void read_file(const char *name) {
  FILE *file = memory_or_die(fopen(name, "rb"));
  fseek(file, 0, SEEK_END);
  size_t bytes = (size_t)ftell(file);
  rewind(file);
  char *content = memory_or_die(malloc(bytes + 1));
  if (fread(content, 1, bytes, file) != bytes) memory_or_die(NULL);
  fclose(file);
  file_at = content;
  file_end = content + bytes;
}

static const Table *table_named(const char *name) {
#if defined(__x86_64__)
  if (strcmp(name, "avx512") == 0) return &kernels_avx512;
  if (strcmp(name, "avx2") == 0) return &kernels_avx2;
#endif
  return strcmp(name, "plain") == 0 ? &kernels_plain : NULL;
}

int main(int count, char **words) {
  const Table *table = count == 4 ? table_named(words[2]) : NULL;
  if (!table) return 2;
  read_file(words[1]);
  char *content = (char *)file_at;
  place = strcmp(words[3], "heap") == 0 ? ON_HEAP : strcmp(words[3], "start") == 0 ? AT_START : AT_END;
  if (place == ON_HEAP) run_cases(table, false);
  else run_apart(table);
  set_thread_count(1);
  reset_scratch();
  free(content);
  return 0;
}
