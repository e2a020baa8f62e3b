// Included before threads.c: every atomic step may first give way to another thread, so that what can go wrong between
// two steps, once in a million loops, does so at once.

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

static void give_way(void) {
  static _Thread_local unsigned state;
  state = state * 1664525u + 1013904223u + (unsigned)(unsigned long)&state;
  unsigned chance = state >> 24;
  if (chance < 60) sched_yield();
  else if (chance < 62) nanosleep(&(struct timespec){.tv_nsec = 30000}, NULL);
}

#undef atomic_load
#undef atomic_store
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_compare_exchange_weak
#define atomic_load(at) (give_way(), atomic_load_explicit(at, memory_order_seq_cst))
#define atomic_store(at, value) (give_way(), atomic_store_explicit(at, value, memory_order_seq_cst))
#define atomic_fetch_add(at, value) (give_way(), atomic_fetch_add_explicit(at, value, memory_order_seq_cst))
#define atomic_fetch_sub(at, value) (give_way(), atomic_fetch_sub_explicit(at, value, memory_order_seq_cst))
#define atomic_compare_exchange_weak(at, expected, value) \
  (give_way(),                                            \
   atomic_compare_exchange_weak_explicit(at, expected, value, memory_order_seq_cst, memory_order_seq_cst))
