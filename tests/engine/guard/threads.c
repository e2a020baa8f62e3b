// Threads under stress: started and stopped at once, with loops of no, one and many tasks between, each of which must run
// exactly once. A lost wake-up shows as a program that does not end.
//   threads ROUNDS -> exit status 0, or 1 when a task did not run once

#include "kernels.h"

#include <stdio.h>
#include <stdlib.h>

#define MOST_TASKS 64

static unsigned runs[MOST_TASKS];

static void count_run(const void *context, uint32_t task, unsigned thread) {
  (void)context;
  (void)thread;
  runs[task]++;
}

static bool loop(uint32_t tasks) {
  memset(runs, 0, sizeof runs);
  parallel(count_run, NULL, tasks);
  for (uint32_t task = 0; task < MOST_TASKS; task++)
    if (runs[task] != (task < tasks)) return false;
  return true;
}

int main(int count, char **words) {
  static const unsigned threads[] = {3, 1, 2, 2, 1, 5, 4, 1};
  long rounds = count == 2 ? atol(words[1]) : 0;
  uint32_t random = 1;
  for (long round = 0; round < rounds; round++) {
    unsigned wanted = threads[round % 8];
    if (set_thread_count(wanted) != wanted) return 1;
    random = random * 1664525u + 1013904223u;
    for (uint32_t i = 0; i < (random >> 30); i++)
      if (!loop((random >> (8 + i)) % (MOST_TASKS + 1))) return 1;
  }
  set_thread_count(1);
  return 0;
}
