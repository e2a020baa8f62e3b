// A small pool of threads for parallel loops. Tasks are handed out in order by one counter; which thread runs a task
// never changes what the task computes. Idle workers spin for 20 µs, then sleep until the next loop.

#include "kernels.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define SPIN_NANOSECONDS 20000
#define CLOSED UINT32_MAX // the task number of a loop that is not open to workers

// The loop now open: its number in the high half, its next task in the low half. Workers claim tasks by compare and
// swap, so one that read an older loop can claim nothing from this one.
static _Atomic uint64_t loop_state = CLOSED;
static _Atomic uint32_t loop_count, loop_done;
static _Atomic(Task) loop_run;
static _Atomic(const void *) loop_context;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_arrived = PTHREAD_COND_INITIALIZER, work_finished = PTHREAD_COND_INITIALIZER;
static _Atomic unsigned sleepers;
static _Atomic bool caller_sleeps, stopping;
static pthread_t workers[MAX_THREADS];
static unsigned threads = 1;

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

static bool has_task(void) {
  uint64_t state = atomic_load(&loop_state);
  return (uint32_t)state != CLOSED && (uint32_t)state < atomic_load(&loop_count);
}
static bool worker_may_go_on(void) { return has_task() || atomic_load(&stopping); }
static bool loop_is_done(void) { return atomic_load(&loop_done) == atomic_load(&loop_count); }

static bool spin_until(bool (*ready)(void)) {
  uint64_t end = nanoseconds() + SPIN_NANOSECONDS;
  do {
    for (int i = 0; i < 16; i++) {
      if (ready()) return true;
      relax();
    }
  } while (nanoseconds() < end);
  return false;
}

static void run_tasks(unsigned thread) {
  for (;;) {
    uint64_t state = atomic_load(&loop_state);
    uint32_t task = (uint32_t)state, count = atomic_load(&loop_count);
    Task run = atomic_load(&loop_run);
    const void *context = atomic_load(&loop_context);
    if (task == CLOSED || task >= count) return;
    if (!atomic_compare_exchange_weak(&loop_state, &state, state + 1)) continue;
    run(context, task, thread);
    if (atomic_fetch_add(&loop_done, 1) + 1 == count && atomic_load(&caller_sleeps)) {
      pthread_mutex_lock(&mutex);
      pthread_cond_signal(&work_finished);
      pthread_mutex_unlock(&mutex);
    }
  }
}

static void *work(void *thread) {
  while (!atomic_load(&stopping)) {
    run_tasks((unsigned)(uintptr_t)thread);
    if (spin_until(worker_may_go_on)) continue;
    pthread_mutex_lock(&mutex);
    atomic_fetch_add(&sleepers, 1);
    while (!worker_may_go_on()) pthread_cond_wait(&work_arrived, &mutex);
    atomic_fetch_sub(&sleepers, 1);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

static void wake_workers(void) {
  if (atomic_load(&sleepers) == 0) return;
  pthread_mutex_lock(&mutex);
  pthread_cond_broadcast(&work_arrived);
  pthread_mutex_unlock(&mutex);
}

void parallel(Task run, const void *context, uint32_t count) {
  if (threads == 1 || count < 2) {
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
  wake_workers();
  run_tasks(0);
  if (spin_until(loop_is_done)) return;
  pthread_mutex_lock(&mutex);
  atomic_store(&caller_sleeps, true);
  while (!loop_is_done()) pthread_cond_wait(&work_finished, &mutex);
  atomic_store(&caller_sleeps, false);
  pthread_mutex_unlock(&mutex);
}

static void stop_workers(void) {
  atomic_store(&stopping, true);
  pthread_mutex_lock(&mutex);
  pthread_cond_broadcast(&work_arrived);
  pthread_mutex_unlock(&mutex);
  for (unsigned thread = 1; thread < threads; thread++) pthread_join(workers[thread], NULL);
  atomic_store(&stopping, false);
  threads = 1;
}

unsigned thread_count(void) { return threads; }

unsigned set_thread_count(unsigned count) {
  if (count < 1) count = 1;
  if (count > MAX_THREADS) count = MAX_THREADS;
  if (count == threads) return threads;
  stop_workers();
  for (unsigned thread = 1; thread < count; thread++) {
    if (pthread_create(&workers[thread], NULL, work, (void *)(uintptr_t)thread) != 0) break;
    threads = thread + 1;
  }
  return threads;
}
