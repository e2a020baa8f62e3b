// A small pool of threads for parallel loops. Tasks are handed out in order by one counter; which thread runs a task
// never changes what the task computes. Idle threads spin for some microseconds, then sleep until the next loop.
// The two builds differ in how a thread sleeps and wakes, and in who starts threads: here pthreads, on wasm JavaScript.

#include "kernels.h"

#include <stdatomic.h>

#define CLOSED UINT32_MAX // the task number of a loop that is not open

// The loop now open: its number in the high half, its next task in the low half. Threads claim tasks by compare and
// swap, so one that read an older loop can claim nothing from this one.
static _Atomic uint64_t loop_state = CLOSED;
static _Atomic uint32_t loop_count, loop_done;
static _Atomic(Task) loop_run;
static _Atomic(const void *) loop_context;
static _Atomic uint32_t loops_opened, sleepers, stopping;
static _Atomic bool caller_sleeps;
static _Atomic unsigned threads = 1;

unsigned thread_count(void) { return atomic_load_explicit(&threads, memory_order_relaxed); }

#if defined(__wasm__)

#define SPINS 4096 // some 10 µs

static void sleep_while(_Atomic uint32_t *address, uint32_t value) {
  __builtin_wasm_memory_atomic_wait32((int32_t *)address, (int32_t)value, -1);
}
static void wake(_Atomic uint32_t *address) { __builtin_wasm_memory_atomic_notify((int32_t *)address, UINT32_MAX); }

static bool spin_while(_Atomic uint32_t *address, uint32_t value) {
  for (int i = 0; i < SPINS; i++)
    if (atomic_load(address) != value) return false;
  return true;
}

#else

#include <pthread.h>
#include <time.h>

#define SPIN_NANOSECONDS 500000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void sleep_while(_Atomic uint32_t *address, uint32_t value) {
  pthread_mutex_lock(&mutex);
  while (atomic_load(address) == value) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
}

static void wake(_Atomic uint32_t *address) {
  (void)address;
  pthread_mutex_lock(&mutex);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static uint64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static bool spin_while(_Atomic uint32_t *address, uint32_t value) {
  uint64_t end = nanoseconds() + SPIN_NANOSECONDS;
  do {
    for (int i = 0; i < 16; i++) {
      if (atomic_load(address) != value) return false;
      relax();
    }
  } while (nanoseconds() < end);
  return true;
}

#endif

static void run_tasks(unsigned thread) {
  for (;;) {
    uint64_t state = atomic_load(&loop_state);
    uint32_t task = (uint32_t)state, count = atomic_load(&loop_count);
    Task run = atomic_load(&loop_run);
    const void *context = atomic_load(&loop_context);
    if (task == CLOSED || task >= count || thread >= thread_count()) return;
    if (!atomic_compare_exchange_weak(&loop_state, &state, state + 1)) continue;
    run(context, task, thread);
    if (atomic_fetch_add(&loop_done, 1) + 1 == count && atomic_load(&caller_sleeps)) wake(&loop_done);
  }
}

/// What a thread other than the caller's does: tasks, until it is told to stop.
static void serve(unsigned thread) {
  for (;;) {
    uint32_t seen = atomic_load(&loops_opened); // before `stopping`: its change also counts as a loop
    if (atomic_load(&stopping)) return;
    run_tasks(thread);
    if (!spin_while(&loops_opened, seen)) continue;
    atomic_fetch_add(&sleepers, 1);
    sleep_while(&loops_opened, seen);
    atomic_fetch_sub(&sleepers, 1);
  }
}

void parallel(Task run, const void *context, uint32_t count) {
  if (thread_count() == 1 || count < 2) {
    for (uint32_t task = 0; task < count; task++) run(context, task, 0);
    return;
  }
  uint64_t number = (atomic_load(&loop_state) >> 32) + 1;
  atomic_store(&loop_state, number << 32 | CLOSED); // whoever read the last loop's state now fails to claim
  atomic_store(&loop_run, run);
  atomic_store(&loop_context, context);
  atomic_store(&loop_done, 0);
  atomic_store(&loop_count, count);
  atomic_store(&loop_state, (number + 1) << 32);
  atomic_fetch_add(&loops_opened, 1);
  if (atomic_load(&sleepers) > 0) wake(&loops_opened);
  run_tasks(0);
  for (uint32_t done; (done = atomic_load(&loop_done)) != count;) {
    if (!spin_while(&loop_done, done)) continue;
    atomic_store(&caller_sleeps, true);
    if (atomic_load(&loop_done) == done) sleep_while(&loop_done, done);
    atomic_store(&caller_sleeps, false);
  }
}

#if defined(__wasm__)

/// Never returns: what each worker of JavaScript calls. Threads beyond the number in use only sleep.
__attribute__((export_name("serve"))) void exported_serve(unsigned thread) { serve(thread); }

/// JavaScript has started the workers that this promises.
__attribute__((export_name("set_thread_count"))) unsigned set_thread_count(unsigned count) {
  atomic_store(&threads, count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : count);
  return thread_count();
}

#else

static pthread_t workers[MAX_THREADS];

static void *serve_here(void *thread) {
  serve((unsigned)(uintptr_t)thread);
  return NULL;
}

static void stop_workers(void) {
  atomic_store(&stopping, 1);
  atomic_fetch_add(&loops_opened, 1);
  wake(&loops_opened);
  for (unsigned thread = 1; thread < thread_count(); thread++) pthread_join(workers[thread], NULL);
  atomic_store(&stopping, 0);
  atomic_store(&threads, 1);
}

unsigned set_thread_count(unsigned count) {
  if (count < 1) count = 1;
  if (count > MAX_THREADS) count = MAX_THREADS;
  if (count == thread_count()) return count;
  stop_workers();
  for (unsigned thread = 1; thread < count; thread++) {
    if (pthread_create(&workers[thread], NULL, serve_here, (void *)(uintptr_t)thread) != 0) break;
    atomic_store(&threads, thread + 1);
  }
  return thread_count();
}

#endif
