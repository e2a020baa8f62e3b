// The C kernels as JavaScript sees them, in either build: memory that they can reach, and calls by name.
import type { KernelArgument } from '../memory.ts';

export interface Library {
  /** Numbers that kernels can reach, not cleared, aligned to 64 bytes. @throws UserError when memory has run out. */
  allocate(floats: number): Float32Array;
  /** Takes back what `allocate` gave: it may be given out again at once. */
  free(values: Float32Array): void;
  /** Whether kernels can reach these values where they are. */
  reaches(values: Float32Array | Uint16Array): boolean;
  /** Whether the values lie in memory of `allocate`, whole or in part. */
  owns(values: Float32Array | Int32Array | Uint16Array): boolean;
  /** Runs a kernel. The caller has checked sizes. @throws Error when memory has run out or there is no such kernel. */
  call(kernel: string, values: readonly KernelArgument[]): void;
  /** Sets the number of threads, the caller's included; returns how many there are. The bits do not depend on it. */
  setThreads(threads: number): number;
  /** What the kernels are compiled for: avx512, avx2, plain, simd128, relaxed-simd. */
  readonly instructions: string;
}

/** The most threads that the kernels take. */
export const MOST_THREADS = 64;
